//! Setup and exit of the engine process.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

/// `oom_score_adj` of the engine process (-1000 to 1000): the OOM killer should pick the engine before the server.
const OOM_SCORE_ADJ: &str = "500";

/// Returns the socket to the server, which is the standard input of this process, and prepares the process: SIGINT and
/// SIGTERM are ignored, because the server ends the engine, and the OOM score is raised.
///
/// # Errors
/// Standard input is not a connected socket.
pub fn engine_socket() -> io::Result<UnixStream> {
    // SAFETY: both are valid signals that may be ignored, and `SIG_IGN` is no handler function, so that no code runs in
    // signal context.
    unsafe {
        libc::signal(libc::SIGINT, libc::SIG_IGN);
        libc::signal(libc::SIGTERM, libc::SIG_IGN);
    }
    // Only Linux has this file.
    drop(std::fs::write("/proc/self/oom_score_adj", OOM_SCORE_ADJ));
    let stream = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    stream.peer_addr()?;
    Ok(stream)
}

/// Exits this process at once, whatever its other threads do, without destructors or exit handlers.
pub fn exit_now() {
    // SAFETY: `_exit` has no precondition: it runs no destructor or exit handler that could race with other threads.
    unsafe { libc::_exit(0) }
}
