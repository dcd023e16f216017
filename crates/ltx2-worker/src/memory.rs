//! Giving memory back to the system.

/// Has the allocator take all memory from one heap, which is emptied when the model is unloaded; of the heaps that glibc
/// makes for further threads much would stay. To be called before there are threads.
pub fn use_one_heap() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: it takes no pointer, and there are no threads yet whose heaps it could meet half made.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}

/// Hands the allocator's free pages to the system. glibc keeps what was freed, a model's size of it, in case it is wanted
/// again; other allocators give pages back by themselves.
pub(crate) fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: it takes no pointer, and may be called at any time from any thread.
    unsafe {
        libc::malloc_trim(0);
    }
}
