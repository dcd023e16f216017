//! Operation on a full disk, and recovery.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::server::{Server, files_in};

/// Starts a server whose data folder is a separate disk of 3 MB, mounted in a namespace; `None` where the system does not
/// allow that. Other processes reach the folder through the server's root in `/proc`.
fn start_on_a_small_disk(mount: &Path) -> Option<Server> {
    let namespace = ["--user", "--map-root-user", "--mount"];
    let probe = Command::new("unshare").args(namespace).args(["mount", "-t", "tmpfs", "tmpfs"]).arg(mount).status();
    if !probe.is_ok_and(|status| status.success()) {
        return None;
    }
    let script = "mount -t tmpfs -o size=3m tmpfs \"$1\" && shift && exec \"$@\"";
    let mut command = Command::new("unshare");
    command.args(namespace).args(["sh", "-c", script, "sh"]).arg(mount).arg(env!("CARGO_BIN_EXE_ltx2"));
    command.args(Server::arguments(mount));
    let mut server = Server::listening(command, mount.to_owned());
    // `unshare` and the shell have executed the server in their place.
    let root = PathBuf::from(format!("/proc/{}/root", server.process.id()));
    server.data = root.join(mount.strip_prefix("/").unwrap());
    Some(server)
}

/// Fills the disk to the last byte.
fn fill(path: &Path) {
    let mut file = File::create(path).unwrap();
    for size in [1 << 16, 1 << 10, 1] {
        let block = vec![1; size];
        while file.write_all(&block).is_ok() {}
    }
}

#[test]
fn a_full_disk_is_reported_and_recovered_from() {
    let mount = tempfile::tempdir().unwrap();
    let Some(server) = start_on_a_small_disk(mount.path()) else {
        println!("skipped: this system does not allow mounting in tests");
        return;
    };
    let id = |answer: &Value| answer["task_id"].as_str().unwrap().to_owned();
    let (status, before) = server.submit_smallest("before", 1);
    assert_eq!(status, 200, "{before}");
    assert_eq!(server.wait(&id(&before))["status"], "completed");

    let filler = server.data.join("filler");
    fill(&filler);
    let mut accepted = Vec::new();
    let refused = (0..1000).find_map(|seed| match server.submit_smallest(&"x".repeat(10_000), seed) {
        (200, answer) => {
            accepted.push(id(&answer));
            None
        }
        refused => Some(refused),
    });
    let detail = json!({"detail": "the server's disk is full: no task can be added"});
    assert_eq!(refused.expect("the disk is full"), (507, detail));
    assert_eq!(server.path("/health")["status"], "running");

    std::fs::remove_file(filler).unwrap();
    // Accepted tasks end with a result or an error.
    for task in &accepted {
        let ended = server.wait(task);
        assert!(ended["status"] == "completed" || ended["error"].is_string(), "{ended}");
    }
    let (status, after) = server.submit_smallest("after", 2);
    assert_eq!(status, 200, "{after}");
    assert_eq!(server.wait(&id(&after))["status"], "completed");
    let leftovers = server.outputs().into_iter().filter(|name| name.starts_with('.')).count();
    assert_eq!((leftovers, files_in(&server.data.join("inputs")).len()), (0, 0));
}
