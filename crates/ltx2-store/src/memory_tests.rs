//! Reads and commits that overlap in every way.

use crate::new_task_id;
use ltx2_types::Limits;

use super::*;
use crate::record::FirstRow;

/// A task whose work is `version`, and that takes more than `text` bytes.
fn task(id: &TaskId, version: i64, text: usize) -> Arc<KnownTask> {
    let request = Arc::new(Limits::server().defaults);
    let row =
        FirstRow { seq: 1, id: id.clone(), request, request_bytes: text, priority: 0, work: version, created_at: 0 };
    Arc::new(KnownTask::first(row))
}

fn ticket(memory: &Memory, id: &TaskId) -> Ticket {
    match memory.recall(id) {
        Recall::Unknown(ticket) => ticket,
        Recall::Known(_) => panic!("it is known"),
    }
}

fn is_known(memory: &Memory, id: &TaskId) -> bool {
    matches!(memory.recall(id), Recall::Known(_))
}

#[test]
fn what_was_read_is_known_until_it_is_written() {
    let (memory, id, other) = (Memory::default(), new_task_id(), new_task_id());
    memory.keep(&id, &ticket(&memory, &id), task(&id, 1, 0));
    memory.keep(&other, &ticket(&memory, &other), task(&other, 1, 0));
    assert!(is_known(&memory, &id) && is_known(&memory, &other));
    memory.begin(&id);
    assert!(!is_known(&memory, &id) && is_known(&memory, &other));
    memory.end(&id, None);
    assert!(!is_known(&memory, &id) && is_known(&memory, &other));
}

#[test]
fn what_was_read_while_it_was_written_is_not_kept() {
    let (memory, id) = (Memory::default(), new_task_id());
    // A read begins before the commit and ends: in it, after it, after a further one.
    for (before_end, further) in [(true, false), (false, false), (false, true)] {
        let early = ticket(&memory, &id);
        memory.begin(&id);
        if before_end {
            memory.keep(&id, &early, task(&id, 1, 0));
        }
        memory.end(&id, None);
        if further {
            memory.begin(&id);
            memory.end(&id, None);
        }
        memory.keep(&id, &early, task(&id, 1, 0));
        assert!(!is_known(&memory, &id), "{before_end} {further}");
    }
    // It begins in the commit.
    memory.begin(&id);
    let inside = ticket(&memory, &id);
    memory.keep(&id, &inside, task(&id, 1, 0));
    memory.end(&id, None);
    memory.keep(&id, &inside, task(&id, 1, 0));
    assert!(!is_known(&memory, &id));
    // It begins between two ends.
    memory.begin(&id);
    memory.begin(&id);
    memory.end(&id, None);
    let between = ticket(&memory, &id);
    memory.end(&id, None);
    memory.keep(&id, &between, task(&id, 1, 0));
    assert!(!is_known(&memory, &id));
}

#[test]
fn what_is_written_is_kept_if_nobody_else_wrote() {
    let (memory, id) = (Memory::default(), new_task_id());
    memory.begin(&id);
    memory.end(&id, Some(task(&id, 1, 0)));
    assert!(is_known(&memory, &id));
    memory.begin(&id);
    memory.begin(&id);
    memory.end(&id, None);
    // The other may have come after this.
    memory.end(&id, Some(task(&id, 1, 0)));
    assert!(!is_known(&memory, &id));
}

#[test]
fn what_is_asked_for_outlives_what_is_not() {
    let memory = Memory::default();
    let keep = |id: &TaskId, text| memory.keep(id, &ticket(&memory, id), task(id, 1, text));
    let (wanted, unwanted) = (new_task_id(), new_task_id());
    keep(&wanted, 0);
    keep(&unwanted, 0);
    for _ in 0..3 * MOST_TASKS {
        keep(&new_task_id(), 0);
        assert!(is_known(&memory, &wanted));
    }
    assert!(!is_known(&memory, &unwanted));
    assert!(held(&memory).0 <= MOST_TASKS && held(&memory).1 <= MOST_BYTES);
    // Large ones: fewer of them, and none that takes the place of all.
    for _ in 0..100 {
        keep(&new_task_id(), MOST_BYTES / 20);
    }
    let huge = new_task_id();
    keep(&huge, MOST_BYTES);
    assert!(!is_known(&memory, &huge));
    assert!(held(&memory).0 < 20 && held(&memory).1 <= MOST_BYTES);
}

/// Tasks and their bytes, counted.
fn held(memory: &Memory) -> (usize, usize) {
    let known = memory.lock();
    let shelves = [&known.young, &known.old];
    for shelf in shelves {
        assert_eq!(shelf.bytes, shelf.tasks.values().map(|task| task.bytes()).sum::<usize>());
    }
    (shelves.map(|shelf| shelf.tasks.len()).iter().sum(), shelves.map(|shelf| shelf.bytes).iter().sum())
}
