//! Assets and results as inputs.

use std::time::Duration;

use ltx2_store::{AssetId, AssetMedia, LibraryCursor, LibraryItem, NewAsset, Retention, StoreError, Submission};
use ltx2_types::{InputKind, InputRef};

use crate::support::{MINUTE, claim, completed, files_in, image_request, internal, open, video_name};

fn new_asset(lifetime: Option<Duration>) -> NewAsset {
    NewAsset {
        kind: InputKind::Image,
        mime: "image/png".into(),
        name: Some("first.png".into()),
        media: AssetMedia::Image { width: 64, height: 32 },
        bytes: b"image".to_vec(),
        owner: Some("me".into()),
        lifetime,
    }
}

fn submission(source: InputRef) -> Submission {
    Submission::new(image_request(source), vec![])
}

#[tokio::test]
async fn an_asset_is_stored_and_deleted() {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path()).await;
    let asset = store.create_asset(new_asset(None)).await.unwrap();
    assert_eq!((asset.bytes, asset.mime.as_str(), asset.owner.as_deref()), (5, "image/png", Some("me")));
    assert_eq!(store.asset(&asset.id).await.unwrap(), Some(asset.clone()));
    let path = store.input_path(&InputRef::Asset(asset.id.clone())).await.unwrap();
    assert_eq!(std::fs::read(path).unwrap(), b"image");

    assert!(store.delete_asset(&asset.id).await.unwrap());
    assert!(!store.delete_asset(&asset.id).await.unwrap());
    assert_eq!(store.asset(&asset.id).await.unwrap(), None);
    assert!(files_in(&data.path().join("assets")).is_empty());
}

#[tokio::test]
async fn the_library_pages_through_assets_and_results() {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path()).await;
    let asset = store.create_asset(new_asset(None)).await.unwrap();
    tokio::time::sleep(Duration::from_millis(2)).await;
    let task = completed(&store, "a fox").await;
    tokio::time::sleep(Duration::from_millis(2)).await;
    let newest = store.create_asset(new_asset(None)).await.unwrap();
    let expired = store.create_asset(new_asset(Some(Duration::ZERO))).await.unwrap();
    assert_eq!(store.asset(&expired.id).await.unwrap(), None);

    let page = store.library(None, 2).await.unwrap();
    assert!(matches!(&page.items[..], [LibraryItem::Asset(first), LibraryItem::Result(second)]
        if **first == newest && second.id == task));
    let next = LibraryCursor::parse(&page.next.unwrap().text());
    let page = store.library(next.as_ref(), 2).await.unwrap();
    assert_eq!((page.items, page.next), (vec![LibraryItem::Asset(Box::new(asset))], None));
    for bad in ["", "1", "x-1", "-", "1-zz"] {
        assert!(LibraryCursor::parse(bad).is_none(), "{bad}");
    }
}

#[tokio::test]
async fn an_asset_in_use_outlives_its_deletion_and_expiry() {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path()).await;
    let deleted = store.create_asset(new_asset(None)).await.unwrap();
    let expiring = store.create_asset(new_asset(Some(Duration::from_millis(100)))).await.unwrap();
    for asset in [&deleted, &expiring] {
        store.submit(submission(InputRef::Asset(asset.id.clone()))).await.unwrap();
    }
    assert!(store.delete_asset(&deleted.id).await.unwrap());
    tokio::time::sleep(Duration::from_millis(110)).await;
    assert_eq!(store.expire_assets().await.unwrap(), 0);
    for _ in 0..2 {
        let claimed = claim(&store).await;
        let source = claimed.request.task.inputs()[0].source.clone();
        assert!(store.input_path(&source).await.unwrap().exists());
        // An expired asset is refused for further tasks.
        assert!(matches!(store.submit(submission(source)).await, Err(StoreError::MissingInput(_))));
        store.fail(&claimed.lease, &internal("x")).await.unwrap();
    }
    assert_eq!(store.expire_assets().await.unwrap(), 2);
    assert!(files_in(&data.path().join("assets")).is_empty());
}

#[tokio::test]
async fn a_result_in_use_is_not_deleted() {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path()).await;
    let id = completed(&store, "a fox").await;
    let source = InputRef::Result(id.clone());
    store.submit(submission(source.clone())).await.unwrap();
    assert_eq!(store.input_path(&source).await.unwrap(), store.output_path(&video_name(&id)));
    assert!(matches!(store.remove(&id).await, Err(StoreError::Referenced(task)) if task == id));
    let retention = Retention { max_bytes: Some(0), max_age: None };
    assert_eq!(store.expire(&retention).await.unwrap(), 0);

    let lease = claim(&store).await.lease;
    store.fail(&lease, &internal("x")).await.unwrap();
    assert_eq!(store.expire(&retention).await.unwrap(), 1);
    assert!(matches!(store.input_path(&source).await, Err(StoreError::MissingInput(_))));
}

#[tokio::test]
async fn missing_inputs_are_refused() {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path()).await;
    let open_task = store.enqueue(&crate::support::request("a fox"), vec![]).await.unwrap();
    for source in [InputRef::Asset(AssetId::from_u128(1)), InputRef::Result(open_task)] {
        let error = store.submit(submission(source.clone())).await.unwrap_err();
        assert_eq!(error.to_string(), format!("the input {source} does not exist"));
    }
    assert_eq!(store.open_tasks().await.unwrap().waiting, 1);
    assert!(matches!(store.input_path(&InputRef::Upload("../x".into())).await, Err(StoreError::MissingInput(_))));
    assert!(store.claim("test", MINUTE).await.unwrap().is_some());
}
