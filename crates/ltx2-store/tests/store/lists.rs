//! Lists, idempotency keys and the maximum of the queue.

use std::time::Duration;

use ltx2_store::{
    Cursor, OpenTasks, Order, StoreError, Submission, SubmissionContent, SubmissionKey, Submitted, TaskQuery,
    TaskState, new_task_id,
};

use crate::support::{claim, completed, files_in, image_submission, open, request, submission};

#[tokio::test]
async fn lists_are_filtered_and_paged() {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path()).await;
    let done = completed(&store, "done").await;
    let failed = store.enqueue(&request("failed"), vec![]).await.unwrap();
    store.cancel(&failed).await.unwrap();
    let running = store.enqueue(&request("running"), vec![]).await.unwrap();
    claim(&store).await;
    let queued = store.enqueue(&request("queued"), vec![]).await.unwrap();
    let list = async |query: TaskQuery| {
        let page = store.tasks(&query).await.unwrap();
        (page.tasks.into_iter().map(|task| task.id).collect::<Vec<_>>(), page.next)
    };
    let in_states = |states: &[TaskState]| TaskQuery { states: states.to_vec(), ..TaskQuery::newest(9) };
    let newest_first = [&queued, &running, &failed, &done].map(Clone::clone);
    assert_eq!(list(TaskQuery::newest(4)).await, (newest_first.to_vec(), None));
    assert_eq!(list(in_states(&[TaskState::Queued, TaskState::Running])).await.0, newest_first[..2]);
    assert_eq!(list(in_states(&[TaskState::Failed])).await.0, [failed]);
    assert_eq!(list(in_states(&[TaskState::Completed])).await.0, [done]);
    assert!(list(in_states(&[])).await.0.is_empty());

    let (first, next) = list(TaskQuery::newest(3)).await;
    assert_eq!(first, newest_first[..3]);
    assert_eq!(store.cursor_after(&first[2]).await.unwrap(), next);
    // A task that is added in front does not move the pages.
    store.enqueue(&request("later"), vec![]).await.unwrap();
    let after = Cursor::parse(&next.unwrap().text());
    assert_eq!(list(TaskQuery { after, ..TaskQuery::newest(3) }).await, (newest_first[3..].to_vec(), None));
    for bad in ["", "t", "tzzzzzzzzzzzzzzzz", "tffffffffffffffff", "0000000000000001", "t+000000000000001"] {
        assert!(Cursor::parse(bad).is_none(), "{bad}");
    }
}

#[tokio::test]
async fn lists_are_filtered_by_owner_and_dialect_in_either_order() {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path()).await;
    let mut ids = Vec::new();
    for (owner, dialect) in [("me", "native"), ("you", "native"), ("me", "other"), ("me", "native")] {
        let (owner, dialect) = (Some(owner.into()), Some(dialect.into()));
        let submitted = store.submit(Submission { owner, dialect, ..submission("x") }).await.unwrap();
        ids.push(submitted.id().clone());
    }
    let (owner, dialect) = (Some("me".to_owned()), Some("native".to_owned()));
    let mine = TaskQuery { owner, order: Order::OldestFirst, ..TaskQuery::newest(2) };
    let page = store.tasks(&mine).await.unwrap();
    assert_eq!(page.tasks.iter().map(|task| &task.id).collect::<Vec<_>>(), [&ids[0], &ids[2]]);
    let page = store.tasks(&TaskQuery { after: page.next, ..mine.clone() }).await.unwrap();
    assert_eq!(page.tasks.iter().map(|task| &task.id).collect::<Vec<_>>(), [&ids[3]]);
    let page = store.tasks(&TaskQuery { dialect, ..mine }).await.unwrap();
    assert_eq!(page.tasks.iter().map(|task| &task.id).collect::<Vec<_>>(), [&ids[0], &ids[3]]);
    assert!(store.cursor_after(&new_task_id()).await.unwrap().is_none());
}

#[tokio::test]
async fn an_idempotency_key_returns_the_same_task() {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path()).await;
    let keyed = |fingerprint: &str| {
        let key = SubmissionKey { key: "mine".into(), fingerprint: fingerprint.into() };
        Submission { key: Some(key), max_waiting: Some(1), ..image_submission(b"image") }
    };
    let first = store.submit(keyed("1")).await.unwrap();
    assert!(matches!(first, Submitted::Queued(_)));
    assert_eq!(store.submit(keyed("1")).await.unwrap(), Submitted::Known(first.id().clone()));
    assert!(matches!(store.submit(keyed("2")).await, Err(StoreError::KeyReused)));
    assert_eq!(files_in(&data.path().join("inputs")).len(), 1);
}

#[tokio::test]
async fn a_declared_repetition_returns_the_task_with_the_same_content() {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path()).await;
    let submit = async |fingerprint: &str, repeats_within: Option<Duration>, owner: Option<&str>| {
        let content = Some(SubmissionContent { fingerprint: fingerprint.into(), repeats_within });
        let owner = owner.map(Into::into);
        store.submit(Submission { content, owner, max_waiting: Some(4), ..submission("x") }).await.unwrap()
    };
    let window = Some(Duration::from_secs(60));
    let first = submit("1", None, None).await;
    // Equal submissions that are not declared repetitions are different tasks.
    let second = submit("1", None, None).await;
    assert!(matches!((&first, &second), (Submitted::Queued(_), Submitted::Queued(_))));
    assert_eq!(submit("1", window, None).await, Submitted::Known(second.id().clone()));
    assert!(matches!(submit("2", window, None).await, Submitted::Queued(_)));
    assert!(matches!(submit("1", window, Some("other")).await, Submitted::Queued(_)));
    // A full queue does not hide the task of a repetition.
    assert_eq!(submit("1", window, None).await, Submitted::Known(second.id().clone()));
    tokio::time::sleep(Duration::from_millis(20)).await;
    let content = Some(SubmissionContent { fingerprint: "1".into(), repeats_within: Some(Duration::from_millis(1)) });
    let late = store.submit(Submission { content, ..submission("x") }).await.unwrap();
    assert!(matches!(late, Submitted::Queued(_)));
}

#[tokio::test]
async fn a_full_queue_refuses_submissions() {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path()).await;
    let limited = || Submission { max_waiting: Some(2), ..submission("x") };
    store.submit(limited()).await.unwrap();
    store.submit(limited()).await.unwrap();
    assert!(matches!(store.submit(limited()).await, Err(StoreError::QueueFull { waiting: 2, most: 2 })));
    claim(&store).await;
    store.submit(limited()).await.unwrap();
    assert_eq!(store.open_tasks().await.unwrap(), OpenTasks { waiting: 2, running: 1 });
}
