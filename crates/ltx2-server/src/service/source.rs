//! The video or audio that a task works on: fetched, checked and named for the store.

use axum::body::Bytes;
use ltx2_store::{StoreError, TaskId, Upload};
use ltx2_types::{InputRef, SourceInfo};

use super::inputs::{data_url, has_scheme};
use crate::error::{ApiError, ProblemKind};
use crate::state::{Service, SourceFile, SourceProbe};

/// Where the bytes of a video or audio are.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum MediaSource {
    /// In the request.
    Bytes(Bytes),
    /// At an `http` or `https` URL.
    Url(String),
    /// The result of a task.
    Task(TaskId),
}

impl MediaSource {
    /// Parses an `http` or `https` URL, a data URL or the id of a task.
    ///
    /// # Errors
    /// The rule that `text` breaks.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        let text = text.trim();
        if has_scheme(text, "data:") {
            let bytes = data_url(text).map_err(|_| "must be a data URL like data:video/mp4;base64,...")?;
            return Ok(Self::Bytes(bytes));
        }
        if has_scheme(text, "http://") || has_scheme(text, "https://") {
            return Ok(Self::Url(text.into()));
        }
        let id = TaskId::parse(text.strip_prefix("task:").unwrap_or(text));
        id.map(Self::Task).ok_or("must be a file of the form, a URL, a data URL or the id of a completed task")
    }
}

/// Result of loading a source.
pub(crate) enum LoadedSource {
    /// A readable video or audio.
    Valid {
        /// Reference for the request.
        input: InputRef,
        /// The file, if it is not stored yet.
        upload: Option<Upload>,
        /// Its streams.
        info: SourceInfo,
    },
    /// The problem with the source, and its reason.
    Invalid(ProblemKind, String),
}

impl Service {
    /// Fetches a source and finds its streams.
    ///
    /// # Errors
    /// Only internal ones.
    pub(crate) async fn load_source(&self, source: MediaSource) -> Result<LoadedSource, ApiError> {
        let fetched = match (source, &self.fetcher) {
            (MediaSource::Task(id), _) => return self.load_result(id).await,
            (MediaSource::Bytes(bytes), _) => Ok(bytes),
            (MediaSource::Url(url), Some(fetcher)) => fetcher.fetch(&url).await,
            (MediaSource::Url(_), None) => Err("this server does not fetch URLs; send the file itself".into()),
        };
        let bytes = match fetched {
            Ok(bytes) => bytes,
            Err(reason) => return Ok(LoadedSource::Invalid(ProblemKind::MediaUnreachable, reason)),
        };
        let file = bytes.clone();
        Ok(match self.probe(move |probe| probe(SourceFile::Bytes(&file))).await? {
            Ok(info) => {
                let upload = Upload::new(bytes.into());
                LoadedSource::Valid { input: upload.source(), upload: Some(upload), info }
            }
            Err(reason) => LoadedSource::Invalid(ProblemKind::MediaInvalid, reason),
        })
    }

    async fn load_result(&self, id: TaskId) -> Result<LoadedSource, ApiError> {
        let input = InputRef::Result(id.clone());
        let path = match self.store.input_path(&input).await {
            Ok(path) => path,
            Err(StoreError::MissingInput(_)) => {
                let reason = format!("there is no completed task {id}");
                return Ok(LoadedSource::Invalid(ProblemKind::MediaInvalid, reason));
            }
            Err(error) => return Err(error.into()),
        };
        Ok(match self.probe(move |probe| probe(SourceFile::Path(&path))).await? {
            Ok(info) => LoadedSource::Valid { input, upload: None, info },
            Err(reason) => LoadedSource::Invalid(ProblemKind::MediaInvalid, reason),
        })
    }

    /// Runs the probe on a blocking thread.
    async fn probe(
        &self,
        run: impl FnOnce(&SourceProbe) -> Result<SourceInfo, String> + Send + 'static,
    ) -> Result<Result<SourceInfo, String>, ApiError> {
        let probe = self.probe_source.clone();
        tokio::task::spawn_blocking(move || run(&*probe)).await.map_err(|error| {
            tracing::error!(%error, "probing a source panicked: {error}");
            ApiError::internal()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_urls_data_urls_and_tasks() {
        let id = TaskId::from_u128(7);
        assert_eq!(MediaSource::parse(&id.to_string()), Ok(MediaSource::Task(id.clone())));
        assert_eq!(MediaSource::parse(&format!("task:{id}")), Ok(MediaSource::Task(id)));
        assert_eq!(MediaSource::parse("data:video/mp4;base64,AAAA"), Ok(MediaSource::Bytes(vec![0; 3].into())));
        assert!(matches!(MediaSource::parse("HTTPS://x/y.mp4"), Ok(MediaSource::Url(_))));
        for text in ["in.mp4", "/etc/passwd", "file:///x", "data:video/mp4;base64,*"] {
            assert!(MediaSource::parse(text).is_err(), "{text}");
        }
    }
}
