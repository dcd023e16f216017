//! How the process takes memory from the system.

/// Allocations from this size on come from the system one by one, and go back when they are freed.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const LARGE: libc::c_int = 1 << 20;

/// Has the allocator take small memory from one heap, as much would stay in those that glibc makes for further threads,
/// and tensors from the system: glibc would soon take them from the heap too, where they leave gaps, so that a long video
/// would need more than a short one. To be called before there are threads.
pub fn settle() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: it takes no pointer, and there are no threads yet whose heaps it could meet half made.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE);
    }
}
