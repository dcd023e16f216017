//! Queue positions and expected times.

use std::time::{Duration, Instant};

use ltx2_store::{Lease, ReleaseReason, Store, Submission, TaskId, TaskQuery, TaskState, TaskStatus};

use crate::support::{
    MINUTE, Numbers, claim, internal, open, plan, record, request, status, submission, write_outputs,
};

/// The expected queue.
#[derive(Default)]
struct Expected {
    /// Negated priority, arrival and id of queued tasks.
    waiting: Vec<(i32, usize, TaskId)>,
    running: Vec<(i32, usize, Lease)>,
    arrivals: usize,
}

impl Expected {
    /// Compares each task, and the list of all.
    async fn check(&mut self, store: &Store) {
        self.waiting.sort_by_key(|&(priority, arrival, _)| (priority, arrival));
        let query = TaskQuery { states: vec![TaskState::Queued], ..TaskQuery::newest(1000) };
        let listed = store.tasks(&query).await.unwrap().tasks;
        assert_eq!(listed.len(), self.waiting.len());
        for (position, (.., id)) in (1..).zip(&self.waiting) {
            let queued = TaskStatus::Queued { position };
            assert_eq!(status(store, id).await, queued, "task {id}");
            let listed = listed.iter().find(|record| record.id == *id).expect("listed");
            assert_eq!(listed.status, queued, "task {id} in the list");
        }
    }

    async fn submit(&mut self, store: &Store, priority: i32) {
        let submitted = store.submit(Submission { priority, ..submission("x") }).await.unwrap();
        self.waiting.push((-priority, self.arrivals, submitted.id().clone()));
        self.arrivals += 1;
    }

    /// Makes a random change to the queue.
    async fn step(&mut self, store: &Store, numbers: &mut Numbers) {
        let choice = numbers.below(8);
        self.waiting.sort_by_key(|&(priority, arrival, _)| (priority, arrival));
        match choice {
            0..4 => self.submit(store, numbers.below(5) as i32 - 2).await,
            4 if !self.waiting.is_empty() => {
                let (.., id) = self.waiting.remove(numbers.below(self.waiting.len()));
                store.remove(&id).await.unwrap();
                store.remove(&id).await.unwrap();
            }
            5 if !self.waiting.is_empty() => {
                let (priority, arrival, id) = self.waiting.remove(0);
                let claim = claim(store).await;
                assert_eq!(claim.lease.task(), &id);
                self.running.push((priority, arrival, claim.lease));
            }
            6 if !self.running.is_empty() => {
                let (priority, arrival, lease) = self.running.remove(numbers.below(self.running.len()));
                store.release(&lease, ReleaseReason::Shutdown).await.unwrap();
                self.waiting.push((priority, arrival, lease.task().clone()));
            }
            7 if !self.running.is_empty() => {
                let (.., lease) = self.running.remove(numbers.below(self.running.len()));
                store.fail(&lease, &internal("x")).await.unwrap();
            }
            _ => {}
        }
    }
}

#[tokio::test]
async fn claim_returns_highest_priority_first() {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path()).await;
    let mut ids = Vec::new();
    for priority in [0, -1, 5, 5, 0] {
        let submitted = store.submit(Submission { priority, ..submission("x") }).await.unwrap();
        ids.push(submitted.id().clone());
    }
    let order = [2, 3, 0, 4, 1];
    for (position, index) in (1..).zip(order) {
        assert_eq!(status(&store, &ids[index]).await, TaskStatus::Queued { position });
    }
    for index in order {
        assert_eq!(claim(&store).await.lease.task(), &ids[index]);
    }
}

#[tokio::test]
async fn positions_are_right_after_every_change() {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path()).await;
    let (mut expected, mut numbers) = (Expected::default(), Numbers(5));
    for _ in 0..150 {
        expected.step(&store, &mut numbers).await;
        expected.check(&store).await;
    }
    for _ in 0..400 {
        expected.step(&store, &mut numbers).await;
    }
    expected.check(&store).await;
}

#[tokio::test]
async fn positions_are_right_after_concurrent_changes() {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path()).await;
    let clients = (0..8).map(|_| {
        let store = store.clone();
        tokio::spawn(async move {
            for _ in 0..15 {
                let kept = store.enqueue(&request("x"), vec![]).await.unwrap();
                let cancelled = store.enqueue(&request("x"), vec![]).await.unwrap();
                assert!(matches!(status(&store, &kept).await, TaskStatus::Queued { .. }));
                store.remove(&cancelled).await.unwrap();
            }
        })
    });
    for client in clients.collect::<Vec<_>>() {
        client.await.unwrap();
    }
    let states = vec![TaskState::Queued, TaskState::Running];
    let page = store.tasks(&TaskQuery { states, ..TaskQuery::newest(200) }).await.unwrap();
    let positions: Vec<TaskStatus> = page.tasks.into_iter().rev().map(|task| task.status).collect();
    let expected: Vec<TaskStatus> = (1..=120).map(|position| TaskStatus::Queued { position }).collect();
    assert_eq!(positions, expected);
}

#[tokio::test]
async fn expected_times_follow_the_cost_and_the_measured_time_of_earlier_tasks() {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path()).await;
    let submit = async |cost| {
        let submitted = store.submit(Submission { plan: Some(plan(cost)), ..submission("x") }).await.unwrap();
        submitted.id().clone()
    };
    let expected = async |id: &TaskId| record(&store, id).await.expected_ms;
    let unknown = submit(1000).await;
    assert_eq!(expected(&unknown).await, None);
    let lease = claim(&store).await.lease;
    tokio::time::sleep(Duration::from_millis(50)).await;
    store.complete(&lease, &write_outputs(&store, &unknown, 1)).await.unwrap();
    assert_eq!(expected(&unknown).await, None);

    let first = submit(1000).await;
    let second = submit(3000).await;
    let (one, two) = (expected(&first).await.unwrap(), expected(&second).await.unwrap());
    assert!(one >= 50 && (4 * one - 3..=4 * one + 3).contains(&two), "{one} and {two}");
    // The time that a task has run is subtracted.
    let lease = store.claim("test", MINUTE).await.unwrap().unwrap().lease;
    assert_eq!(lease.task(), &first);
    tokio::time::sleep(Duration::from_millis(20)).await;
    let (left, later) = (expected(&first).await.unwrap(), expected(&second).await.unwrap());
    assert!(left <= one - 20 && later <= two - 20, "{left} and {later}");
}

/// Prints how long a poll takes with a short and a long queue. Run with `--release --ignored --nocapture`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn measure_polls() {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path()).await;
    let first = store.enqueue(&request("x"), vec![]).await.unwrap();
    let mut last = first.clone();
    for (more, label) in [(0, "1 queued"), (9_999, "10,000 queued")] {
        let start = Instant::now();
        for _ in 0..more {
            last = store.submit(Submission { plan: Some(plan(9)), ..submission("x") }).await.unwrap().id().clone();
        }
        println!("{label}: {:?} per submission", start.elapsed() / more.max(1));
        for (id, name) in [(&first, "first"), (&last, "last")] {
            let start = Instant::now();
            for _ in 0..500 {
                status(&store, id).await;
            }
            println!("{label}: {:?} per poll of the {name}", start.elapsed() / 500);
        }
        let start = Instant::now();
        for _ in 0..50 {
            store.tasks(&TaskQuery::newest(20)).await.unwrap();
        }
        println!("{label}: {:?} per page of 20", start.elapsed() / 50);
    }
}
