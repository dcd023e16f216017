//! The order that the store holds in memory is the one that the queue has.

use std::time::Duration;

use ltx2_store::{Lease, Store, Submission, TaskId, TaskStatus};
use ltx2_types::{Failure, FailureCode, Limits, ValidRequest};

/// Small numbers, the same in each run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % end
    }
}

/// The queue as it should be.
#[derive(Default)]
struct Expected {
    /// Priority with its sign turned, arrival, id.
    waiting: Vec<(i32, usize, TaskId)>,
    running: Vec<(i32, usize, Lease)>,
    arrivals: usize,
}

impl Expected {
    async fn check(&mut self, store: &Store) {
        self.waiting.sort_by_key(|&(priority, arrival, _)| (priority, arrival));
        for (position, (.., id)) in (1..).zip(&self.waiting) {
            let status = store.task(id).await.unwrap().unwrap().status;
            assert_eq!(status, TaskStatus::Queued { position }, "task {id}");
        }
    }

    async fn submit(&mut self, store: &Store, priority: i32) {
        let request = ValidRequest { prompt: "x".into(), ..Limits::server().defaults };
        let submitted = store.submit(Submission { priority, ..Submission::new(request, vec![]) }).await.unwrap();
        self.waiting.push((-priority, self.arrivals, submitted.id().clone()));
        self.arrivals += 1;
    }

    /// One of the things that can happen to a queue.
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
                let claim = store.claim("test", Duration::from_secs(60)).await.unwrap().unwrap();
                assert_eq!(claim.lease.task(), &id);
                self.running.push((priority, arrival, claim.lease));
            }
            6 if !self.running.is_empty() => {
                let (priority, arrival, lease) = self.running.remove(numbers.below(self.running.len()));
                store.release(&lease).await.unwrap();
                self.waiting.push((priority, arrival, lease.task().clone()));
            }
            7 if !self.running.is_empty() => {
                let (.., lease) = self.running.remove(numbers.below(self.running.len()));
                store.fail(&lease, &Failure::new(FailureCode::Internal, "x")).await.unwrap();
            }
            _ => {}
        }
    }
}

#[tokio::test]
async fn positions_are_right_after_every_change() {
    let data = tempfile::tempdir().unwrap();
    let store = Store::open(data.path()).await.unwrap();
    let (mut expected, mut numbers) = (Expected::default(), Numbers(5));
    for _ in 0..150 {
        expected.step(&store, &mut numbers).await;
        expected.check(&store).await;
    }
    // More changes than are remembered one by one.
    for _ in 0..400 {
        expected.step(&store, &mut numbers).await;
    }
    expected.check(&store).await;
}

#[tokio::test]
async fn positions_are_right_after_many_change_it_at_once() {
    let data = tempfile::tempdir().unwrap();
    let store = Store::open(data.path()).await.unwrap();
    let request = || ValidRequest { prompt: "x".into(), ..Limits::server().defaults };
    let clients = (0..8).map(|_| {
        let store = store.clone();
        tokio::spawn(async move {
            for _ in 0..15 {
                let kept = store.enqueue(&request(), vec![]).await.unwrap();
                let gone = store.enqueue(&request(), vec![]).await.unwrap();
                assert!(matches!(store.task(&kept).await.unwrap().unwrap().status, TaskStatus::Queued { .. }));
                store.remove(&gone).await.unwrap();
            }
        })
    });
    for client in clients.collect::<Vec<_>>() {
        client.await.unwrap();
    }
    let page = store.tasks(ltx2_store::Listed::Open, None, 200).await.unwrap();
    let positions: Vec<TaskStatus> = page.tasks.into_iter().rev().map(|task| task.status).collect();
    let expected: Vec<TaskStatus> = (1..=120).map(|position| TaskStatus::Queued { position }).collect();
    assert_eq!(positions, expected);
}
