//! Life of a task, from submission to its end.

use std::collections::HashSet;

use std::time::Duration;

use ltx2_store::{Completion, ReleaseReason, Released, Removal, StoreError, Submission, TaskStatus, new_task_id};
use ltx2_types::{Failure, FailureCode, Phase};

use crate::support::{
    MINUTE, claim, completed, completion, failure, internal, kinds, open, outputs, progress, record, request, restart,
    status, submission, video_name, write_outputs,
};

#[tokio::test]
async fn a_task_is_queued_then_running_then_completed() {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path()).await;
    let id = store.enqueue(&request("a fox"), vec![]).await.unwrap();
    assert_eq!(status(&store, &id).await, TaskStatus::Queued { position: 1 });

    let claimed = claim(&store).await;
    assert_eq!((claimed.lease.task(), &claimed.request, claimed.attempt), (&id, &request("a fox"), 1));
    assert_eq!(status(&store, &id).await, TaskStatus::Running { progress: None });
    assert!(store.claim("other", MINUTE).await.unwrap().is_none());

    let progress = progress(Phase::Denoising, 3);
    store.heartbeat(&claimed.lease, &[]).await.unwrap();
    store.heartbeat(&claimed.lease, &[progress]).await.unwrap();
    assert_eq!(status(&store, &id).await, TaskStatus::Running { progress: Some(progress) });

    let completion = write_outputs(&store, &id, 10);
    assert!(!store.is_output(&video_name(&id)).await.unwrap());
    // The size on disk counts.
    let mut claimed_sizes = completion.clone();
    claimed_sizes.outputs[0].bytes = 7;
    store.complete(&claimed.lease, &claimed_sizes).await.unwrap();
    assert!(store.is_output(&video_name(&id)).await.unwrap());
    let record = record(&store, &id).await;
    assert_eq!((record.status, record.attempts), (TaskStatus::Completed(completion), 1));
    assert!(record.created_at <= record.started_at.unwrap() && record.started_at <= record.finished_at);
}

#[tokio::test]
async fn the_record_holds_what_was_submitted() {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path()).await;
    let plan = crate::support::plan(7);
    let submitted = Submission {
        plan: Some(plan.clone()),
        priority: 3,
        dialect: Some("native".into()),
        owner: Some("me".into()),
        ..submission("a fox")
    };
    let id = store.submit(submitted).await.unwrap().id().clone();
    let record = record(&store, &id).await;
    assert_eq!((record.request, record.plan), (Some(request("a fox")), Some(plan)));
    assert_eq!((record.priority, record.dialect.as_deref(), record.owner.as_deref()), (3, Some("native"), Some("me")));
}

#[tokio::test]
async fn floating_point_numbers_are_stored_exactly() {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path()).await;
    let mut request = request("a fox");
    // An approximate parser misses some of these by the last bit.
    for bits in 0..100 {
        request.video_guidance.cfg = f64::from_bits(3.3_f64.to_bits() + bits);
        store.enqueue(&request, vec![]).await.unwrap();
        assert_eq!(claim(&store).await.request, request);
    }
}

#[tokio::test]
async fn completing_requires_the_files() {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path()).await;
    let id = store.enqueue(&request("a fox"), vec![]).await.unwrap();
    let lease = claim(&store).await.lease;
    let completion = Completion { enhanced_prompt: Some("A fox walks".into()), ..completion(&id, 1) };
    assert!(matches!(store.complete(&lease, &completion).await, Err(StoreError::File { .. })));
    assert_eq!(status(&store, &id).await, TaskStatus::Running { progress: None });
}

#[tokio::test]
async fn a_released_task_returns_to_its_position() {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path()).await;
    let first = store.enqueue(&request("1"), vec![]).await.unwrap();
    let second = store.enqueue(&request("2"), vec![]).await.unwrap();
    let third = store.enqueue(&request("3"), vec![]).await.unwrap();
    assert_eq!(status(&store, &third).await, TaskStatus::Queued { position: 3 });
    let claimed = claim(&store).await;
    assert_eq!(claimed.lease.task(), &first);
    assert_eq!(status(&store, &second).await, TaskStatus::Queued { position: 1 });
    assert_eq!(store.release(&claimed.lease, ReleaseReason::Shutdown).await.unwrap(), Released::Queued);
    assert_eq!(status(&store, &first).await, TaskStatus::Queued { position: 1 });
    assert_eq!(record(&store, &first).await.attempts, 0);
    assert_eq!(claim(&store).await.lease.task(), &first);
}

#[tokio::test]
async fn a_prepared_result_is_dropped_with_its_run() {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path()).await;
    let id = store.enqueue(&request("a fox"), vec![]).await.unwrap();
    for _ in 0..2 {
        let lease = claim(&store).await.lease;
        let prepared = Completion { enhanced_prompt: Some("A fox walks".into()), ..write_outputs(&store, &id, 10) };
        store.prepare(&lease, &prepared).await.unwrap();
        store.release(&lease, ReleaseReason::Shutdown).await.unwrap();
        assert_eq!(outputs(&store), 0);
    }
    let lease = claim(&store).await.lease;
    store.complete(&lease, &write_outputs(&store, &id, 10)).await.unwrap();
    // Without the enhanced prompt of the earlier runs.
    assert_eq!(status(&store, &id).await, TaskStatus::Completed(completion(&id, 10)));

    let failing = store.enqueue(&request("fails"), vec![]).await.unwrap();
    let lease = claim(&store).await.lease;
    store.prepare(&lease, &write_outputs(&store, &failing, 10)).await.unwrap();
    store.fail(&lease, &internal("x")).await.unwrap();
    assert_eq!(outputs(&store), 2);
}

#[tokio::test]
async fn an_expired_lease_is_reclaimed_and_its_holder_loses_it() {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path()).await;
    let id = store.enqueue(&request("a fox"), vec![]).await.unwrap();
    let lost = store.claim("slow", Duration::ZERO).await.unwrap().unwrap().lease;
    let held = claim(&store).await;
    assert_eq!((held.lease.task(), held.attempt), (&id, 2));

    let completion = write_outputs(&store, &id, 10);
    let crash = ReleaseReason::EngineCrash(internal("crashed"));
    let results = [
        store.heartbeat(&lost, &[]).await.map(drop),
        store.heartbeat(&lost, &[progress(Phase::Loading, 0)]).await.map(drop),
        store.prepare(&lost, &completion).await,
        store.put_preview(&lost, b"jpg").await,
        store.complete(&lost, &completion).await,
        store.fail(&lost, &internal("late")).await,
        store.release(&lost, ReleaseReason::Shutdown).await.map(drop),
        store.release(&lost, crash).await.map(drop),
    ];
    for result in results {
        assert!(matches!(result, Err(StoreError::LeaseLost(task)) if task == id));
    }
    store.complete(&held.lease, &completion).await.unwrap();
    assert!(matches!(store.fail(&held.lease, &internal("late")).await, Err(StoreError::LeaseLost(_))));
    assert_eq!(status(&store, &id).await, TaskStatus::Completed(completion));
}

#[tokio::test]
async fn heartbeats_keep_a_lease_alive() {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path()).await;
    store.enqueue(&request("a fox"), vec![]).await.unwrap();
    let lease = store.claim("test", Duration::from_millis(600)).await.unwrap().unwrap().lease;
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        store.heartbeat(&lease, &[]).await.unwrap();
    }
    assert!(store.claim("thief", MINUTE).await.unwrap().is_none());
}

#[tokio::test]
async fn open_tasks_are_cancelled_and_ended_ones_deleted() {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path()).await;
    assert_eq!(store.remove(&new_task_id()).await.unwrap(), None);
    let running = store.enqueue(&request("running"), vec![]).await.unwrap();
    let queued = store.enqueue(&request("queued"), vec![]).await.unwrap();
    let lease = claim(&store).await.lease;

    assert_eq!(store.remove(&queued).await.unwrap(), Some(Removal::Cancelled));
    assert_eq!(failure(&store, &queued).await, Failure::cancelled());
    assert_eq!(store.cancel(&queued).await.unwrap(), None);
    assert_eq!(store.remove(&queued).await.unwrap(), Some(Removal::Deleted));
    assert!(store.task(&queued).await.unwrap().is_none());
    assert!(kinds(&store, &queued).await.is_empty());

    assert!(!store.heartbeat(&lease, &[]).await.unwrap().cancel);
    assert_eq!(store.remove(&running).await.unwrap(), Some(Removal::Stopping));
    assert!(store.heartbeat(&lease, &[]).await.unwrap().cancel);
    assert!(record(&store, &running).await.is_stopping);
    // Its worker stops before it sees that: the task is not run again.
    let store = restart(store, data.path()).await;
    assert_eq!(failure(&store, &running).await, Failure::cancelled());
}

#[tokio::test]
async fn deleting_removes_the_files() {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path()).await;
    let id = completed(&store, "a fox").await;
    assert_eq!(outputs(&store), 2);
    assert_eq!(store.remove(&id).await.unwrap(), Some(Removal::Deleted));
    assert_eq!(outputs(&store), 0);
}

#[tokio::test]
async fn each_task_is_claimed_once_by_concurrent_workers() {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path()).await;
    let submits = (0..20).map(|n| {
        let store = store.clone();
        tokio::spawn(async move { store.enqueue(&request(&n.to_string()), vec![]).await.unwrap() })
    });
    let mut ids = HashSet::new();
    for submit in submits.collect::<Vec<_>>() {
        ids.insert(submit.await.unwrap());
    }
    let claims = (0..30).map(|_| {
        let store = store.clone();
        tokio::spawn(async move { store.claim("test", MINUTE).await.unwrap() })
    });
    let mut claimed = Vec::new();
    for claim in claims.collect::<Vec<_>>() {
        claimed.extend(claim.await.unwrap().map(|claim| claim.lease.task().clone()));
    }
    assert_eq!(claimed.len(), 20);
    assert_eq!(HashSet::from_iter(claimed), ids);
}

#[tokio::test]
async fn a_failure_is_stored() {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path()).await;
    let id = store.enqueue(&request("a fox"), vec![]).await.unwrap();
    let expected = Failure::new(FailureCode::OutOfMemory, "too big");
    store.fail(&claim(&store).await.lease, &expected).await.unwrap();
    assert_eq!(failure(&store, &id).await, expected);
}

#[tokio::test]
async fn unknown_tasks_and_outputs_are_not_found() {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path()).await;
    assert!(store.task(&new_task_id()).await.unwrap().is_none());
    assert!(!store.is_output(&video_name(&new_task_id())).await.unwrap());
}
