//! What an engine's process does for itself.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

/// Of -1000 to 1000: how gladly the system ends this process when memory is short. The engine goes before the server.
const READINESS_TO_GO: &str = "500";

/// The socket to the server, which the process has in the place of its standard input. Settles the process for its work:
/// the server ends it, so that signals that were meant for the server and reach it too are ignored.
pub fn engine_socket() -> io::Result<UnixStream> {
    // SAFETY: ignoring a signal runs no code of ours, and there is no handler to be replaced.
    unsafe {
        libc::signal(libc::SIGINT, libc::SIG_IGN);
        libc::signal(libc::SIGTERM, libc::SIG_IGN);
    }
    // Where there is no such file the system decides by itself.
    drop(std::fs::write("/proc/self/oom_score_adj", READINESS_TO_GO));
    let stream = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    stream.peer_addr()?;
    Ok(stream)
}

/// Ends this process at once, whatever its other threads do: nobody is left to take a result.
pub fn leave() {
    // SAFETY: it does not return, and runs nothing that other threads could be in the middle of.
    unsafe { libc::_exit(0) }
}
