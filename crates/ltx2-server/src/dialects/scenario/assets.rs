//! Uploaded files and results as Scenario's assets.

use ltx2_store::{Asset, AssetMedia, TaskRecord, TaskStatus};
use ltx2_types::{OutputRole, SourceInfo, Task};

use super::jobs::date;
use super::wire::{AssetBody, AssetImage, AssetMetadata, AssetProperties};
use crate::caller::Urls;
use crate::outputs::asset_path;

/// Returns the asset for an uploaded file.
pub(super) fn uploaded(asset: &Asset, urls: &Urls) -> AssetBody {
    let kind = asset.kind.name();
    let source = match kind {
        "video" => "uploaded-video",
        "audio" => "uploaded-audio",
        _ => "uploaded",
    };
    let owner = asset.owner.clone().unwrap_or_else(|| "local".into());
    let (created_at, updated_at) = (date(asset.created_at), date(asset.created_at));
    AssetBody {
        id: format!("asset_{}", asset.id),
        url: urls.expiring(&asset_path(asset.id.as_str(), extension(&asset.mime))),
        mime_type: asset.mime.clone(),
        kind,
        source,
        status: "success",
        privacy: "private",
        author_id: owner.clone(),
        owner_id: owner,
        created_at,
        updated_at,
        collection_ids: Vec::new(),
        tags: Vec::new(),
        edit_capabilities: Vec::new(),
        metadata: AssetMetadata { r#type: source, kind, name: asset.name.clone(), prompt: None, seed: None },
        properties: AssetProperties { size: asset.bytes, ..properties(&asset.media) },
        description: None,
        thumbnail: None,
        last_frame: None,
    }
}

fn properties(media: &AssetMedia) -> AssetProperties {
    match media {
        AssetMedia::Image { width, height } => {
            AssetProperties { width: Some(*width), height: Some(*height), ..AssetProperties::default() }
        }
        AssetMedia::Source(SourceInfo { video, audio, .. }) => AssetProperties {
            width: video.map(|video| video.width),
            height: video.map(|video| video.height),
            duration: video
                .map(|video| video.frame_rate.seconds(video.num_frames))
                .or(audio.map(|audio| audio.seconds)),
            frame_rate: video.map(|video| video.frame_rate.as_f64()),
            nb_frames: video.map(|video| video.num_frames),
            sample_rate: audio.map(|audio| audio.sample_rate),
            ..AssetProperties::default()
        },
    }
}

/// Returns the asset for the result of `record`; `None` if it has none.
pub(super) fn result(record: &TaskRecord, urls: &Urls) -> Option<AssetBody> {
    let TaskStatus::Completed(completion) = &record.status else { return None };
    let video = completion.output(OutputRole::Video)?;
    let source = record.request.as_ref().map_or("txt2video", |request| origin(&request.task));
    let owner = record.owner.clone().unwrap_or_else(|| "local".into());
    let image = |role: OutputRole| {
        let output = completion.output(role)?;
        let asset_id = format!("asset_{}_{}", record.id, role.name());
        Some(AssetImage { asset_id, url: urls.open(&format!("/outputs/{}", output.key)) })
    };
    let request = record.request.as_ref();
    Some(AssetBody {
        id: format!("asset_{}", record.id),
        url: urls.expiring(&asset_path(record.id.as_str(), extension(&video.mime))),
        mime_type: video.mime.clone(),
        kind: "video",
        source,
        status: "success",
        privacy: "private",
        author_id: owner.clone(),
        owner_id: owner,
        created_at: date(record.finished_at.unwrap_or(record.created_at)),
        updated_at: date(record.finished_at.unwrap_or(record.created_at)),
        collection_ids: Vec::new(),
        tags: Vec::new(),
        edit_capabilities: Vec::new(),
        metadata: AssetMetadata {
            r#type: source,
            kind: "video",
            name: None,
            prompt: request.map(|request| request.prompt.clone()),
            seed: request.map(|request| request.seed.to_string()),
        },
        properties: AssetProperties {
            size: video.bytes,
            width: video.width,
            height: video.height,
            duration: video.duration,
            frame_rate: request.map(|request| request.frame_rate.as_f64()),
            nb_frames: None,
            sample_rate: None,
        },
        description: None,
        thumbnail: image(OutputRole::Thumbnail),
        last_frame: image(OutputRole::LastFrame),
    })
}

fn origin(task: &Task) -> &'static str {
    match task {
        Task::TextToVideo => "txt2video",
        Task::ImageToVideo { .. } | Task::Keyframes { .. } => "img2video",
        Task::AudioToVideo { .. } => "audio2video",
        _ => "video2video",
    }
}

fn extension(mime: &str) -> &'static str {
    match mime {
        "video/mp4" => "mp4",
        "video/webm" => "webm",
        "video/quicktime" => "mov",
        "image/png" => "png",
        "image/jpeg" => "jpg",
        "image/webp" => "webp",
        "image/gif" => "gif",
        "audio/wav" => "wav",
        "audio/mpeg" => "mp3",
        _ => "bin",
    }
}
