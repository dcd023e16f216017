//! Storage of assets.

use ltx2_types::AssetId;

use crate::asset::{Asset, LibraryCursor, LibraryItem, LibraryPage, NewAsset};
use crate::clock::{after, now};
use crate::files;
use crate::ids::new_asset_id;
use crate::spawn::{blocking, to_completion};
use crate::sqlite::LibraryKey;
use crate::{FileName, Store, StoreError};

impl Store {
    /// Stores an asset. When this returns, the asset is durable.
    pub async fn create_asset(&self, new: NewAsset) -> Result<Asset, StoreError> {
        let store = self.clone();
        to_completion(async move {
            let id = new_asset_id();
            let asset = Asset {
                key: FileName::of_asset(&id),
                id,
                kind: new.kind,
                mime: new.mime,
                name: new.name,
                media: new.media,
                bytes: new.bytes.len() as u64,
                owner: new.owner,
                created_at: now(),
                expires_at: new.lifetime.map(after),
            };
            let (folder, key) = (store.shared.files.assets(), asset.key.clone());
            blocking(move || {
                files::write(&folder, &key, &new.bytes)?;
                files::sync_folder(&folder)
            })
            .await?;
            store.shared.database.create_asset(&asset).await?;
            Ok(asset)
        })
        .await
    }

    /// Returns asset `id`; `None` if there is no such asset or it has expired.
    pub async fn asset(&self, id: &AssetId) -> Result<Option<Asset>, StoreError> {
        let asset = self.shared.database.asset(id).await?;
        Ok(asset.filter(|asset| asset.expires_at.is_none_or(|at| at > now())))
    }

    /// Returns a page of at most `limit` assets and completed tasks, the newest first.
    pub async fn library(&self, after: Option<&LibraryCursor>, limit: u32) -> Result<LibraryPage, StoreError> {
        let keys = self.shared.database.library_keys(after, limit).await?;
        let mut items = Vec::new();
        for key in &keys.items {
            // An item that is removed meanwhile is left out.
            items.extend(match key {
                LibraryKey::Asset(id) => self.asset(id).await?.map(|asset| LibraryItem::Asset(Box::new(asset))),
                LibraryKey::Task(id) => self.task(id).await?.map(|task| LibraryItem::Result(Box::new(task))),
            });
        }
        Ok(LibraryPage { items, next: keys.next })
    }

    /// Deletes asset `id`, or lets it expire while an open task refers to it. Returns whether there was such an asset.
    pub async fn delete_asset(&self, id: &AssetId) -> Result<bool, StoreError> {
        let (store, id) = (self.clone(), id.clone());
        to_completion(async move {
            let Some(unused) = store.shared.database.delete_asset(&id).await? else { return Ok(false) };
            store.remove_files(unused).await;
            Ok(true)
        })
        .await
    }

    /// Removes the expired assets that no open task refers to. Returns their number.
    pub async fn expire_assets(&self) -> Result<usize, StoreError> {
        let store = self.clone();
        to_completion(async move {
            let unused = store.shared.database.expire_assets().await?;
            let count = unused.assets.len();
            store.remove_files(unused).await;
            Ok(count)
        })
        .await
    }
}
