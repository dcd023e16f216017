//! Assets.

use ltx2_types::{AssetId, InputRef, TaskId};
use sqlx::SqliteConnection;

use super::database::Database;
use super::transaction::file_names;
use crate::asset::{Asset, LibraryCursor};
use crate::clock::now;
use crate::files::UnusedFiles;
use crate::{FileName, StoreError};

#[derive(sqlx::FromRow)]
struct AssetRow {
    key: String,
    kind: String,
    mime: String,
    name: Option<String>,
    media: String,
    bytes: i64,
    owner: Option<String>,
    created_at: i64,
    expires_at: Option<i64>,
}

/// Key of an item of the library.
pub(crate) enum LibraryKey {
    Asset(AssetId),
    Task(TaskId),
}

/// Keys of a page of the library.
pub(crate) struct LibraryKeys {
    pub(crate) items: Vec<LibraryKey>,
    pub(crate) next: Option<LibraryCursor>,
}

impl AssetRow {
    fn into_asset(self, id: &AssetId) -> Result<Asset, StoreError> {
        let unreadable = |reason: &str| StoreError::unreadable(&InputRef::Asset(id.clone()).to_string(), reason);
        Ok(Asset {
            id: id.clone(),
            key: FileName::parse(&self.key).ok_or_else(|| unreadable("its key is no file name"))?,
            kind: self.kind.parse().map_err(|_| unreadable("its kind is unknown"))?,
            mime: self.mime,
            name: self.name,
            media: serde_json::from_str(&self.media).map_err(|_| unreadable("its media properties are unknown"))?,
            bytes: u64::try_from(self.bytes).unwrap_or_default(),
            owner: self.owner,
            created_at: self.created_at,
            expires_at: self.expires_at,
        })
    }
}

impl Database {
    /// Stores the row of `asset`, whose file is in place.
    pub(crate) async fn create_asset(&self, asset: &Asset) -> Result<(), StoreError> {
        let sql = "INSERT INTO assets (id, key, kind, mime, name, media, bytes, owner, created_at, expires_at)
                   VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
        sqlx::query(sql)
            .bind(asset.id.as_str())
            .bind(asset.key.as_str())
            .bind(asset.kind.name())
            .bind(&asset.mime)
            .bind(&asset.name)
            .bind(serde_json::to_string(&asset.media)?)
            .bind(i64::try_from(asset.bytes).unwrap_or(i64::MAX))
            .bind(&asset.owner)
            .bind(asset.created_at)
            .bind(asset.expires_at)
            .execute(&self.writer)
            .await?;
        Ok(())
    }

    /// Returns asset `id`, expired or not.
    pub(crate) async fn asset(&self, id: &AssetId) -> Result<Option<Asset>, StoreError> {
        let sql = "SELECT key, kind, mime, name, media, bytes, owner, created_at, expires_at FROM assets WHERE id = ?";
        let row: Option<AssetRow> = sqlx::query_as(sql).bind(id.as_str()).fetch_optional(&self.reader).await?;
        row.map(|row| row.into_asset(id)).transpose()
    }

    /// Returns the keys of a page of the library.
    pub(crate) async fn library_keys(
        &self,
        after: Option<&LibraryCursor>,
        limit: u32,
    ) -> Result<LibraryKeys, StoreError> {
        let sql = "SELECT * FROM (
                       SELECT 1 AS is_asset, id, created_at AS at FROM assets
                       WHERE (expires_at IS NULL OR expires_at > ?1) AND (?2 IS NULL OR (created_at, id) < (?2, ?3))
                       ORDER BY at DESC, id DESC LIMIT ?4)
                   UNION ALL SELECT * FROM (
                       SELECT 0 AS is_asset, id, finished_at AS at FROM tasks
                       WHERE state = 'completed' AND (?2 IS NULL OR (finished_at, id) < (?2, ?3))
                       ORDER BY at DESC, id DESC LIMIT ?4)
                   ORDER BY at DESC, id DESC LIMIT ?4";
        let mut rows: Vec<(bool, String, i64)> = sqlx::query_as(sql)
            .bind(now())
            .bind(after.map(|cursor| cursor.at))
            .bind(after.map(|cursor| cursor.id.as_str()))
            .bind(i64::from(limit) + 1)
            .fetch_all(&self.reader)
            .await?;
        let has_more = rows.len() > limit as usize;
        rows.truncate(limit as usize);
        let next = rows.last().filter(|_| has_more).map(|(_, id, at)| LibraryCursor { at: *at, id: id.clone() });
        let key = |(is_asset, id, _): (bool, String, i64)| match is_asset {
            true => AssetId::parse(&id).map(LibraryKey::Asset),
            false => TaskId::parse(&id).map(LibraryKey::Task),
        };
        Ok(LibraryKeys { items: rows.into_iter().filter_map(key).collect(), next })
    }

    /// Lets `id` expire now, and removes it if no task refers to it. Returns its unused files; `None` if there is no
    /// such asset.
    pub(crate) async fn delete_asset(&self, id: &AssetId) -> Result<Option<UnusedFiles>, StoreError> {
        let mut transaction = self.begin().await?;
        let expire = "UPDATE assets SET expires_at = ? WHERE id = ?";
        let expired = sqlx::query(expire).bind(now()).bind(id.as_str()).execute(&mut *transaction).await?;
        if expired.rows_affected() == 0 {
            return Ok(None);
        }
        let unused = delete_expired(&mut transaction).await?;
        transaction.commit().await?;
        Ok(Some(unused))
    }

    /// Removes the expired assets that no task refers to. Returns their files.
    pub(crate) async fn expire_assets(&self) -> Result<UnusedFiles, StoreError> {
        let expired = "SELECT 1 FROM assets WHERE expires_at <= ? LIMIT 1";
        let expired: Option<i64> = sqlx::query_scalar(expired).bind(now()).fetch_optional(&self.reader).await?;
        if expired.is_none() {
            return Ok(UnusedFiles::default());
        }
        let mut transaction = self.begin().await?;
        let unused = delete_expired(&mut transaction).await?;
        transaction.commit().await?;
        Ok(unused)
    }
}

async fn delete_expired(connection: &mut SqliteConnection) -> Result<UnusedFiles, StoreError> {
    let sql = "DELETE FROM assets WHERE expires_at <= ?
               AND NOT EXISTS (SELECT 1 FROM task_references WHERE source = 'asset:' || assets.id) RETURNING key";
    let keys: Vec<String> = sqlx::query_scalar(sql).bind(now()).fetch_all(connection).await?;
    Ok(UnusedFiles { assets: file_names(keys), ..UnusedFiles::default() })
}
