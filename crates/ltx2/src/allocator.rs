//! Configuration of the C memory allocator.

/// Allocations of at least this size, bytes, are mapped separately and returned to the system when freed.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const LARGE: libc::c_int = 1 << 20;

/// Configures glibc's allocator: one arena, and `mmap` for blocks of at least 1 MiB.
///
/// Arenas of further threads would retain freed memory. glibc raises its `mmap` threshold dynamically, so tensors would
/// end up in the heap and fragment it, and a long video would need more memory than a short one. Call this before any
/// thread is started.
pub fn configure() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: `mallopt` takes integers only; no other thread exists that could allocate concurrently.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE);
    }
}
