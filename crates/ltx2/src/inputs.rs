//! Files from the command line as inputs of a task.

use ltx2_types::{Inputs, SourceInfo, Task};

/// Returns the inputs of `task`, whose sources are file names.
#[cfg(feature = "media")]
pub fn open(task: &Task) -> anyhow::Result<Box<dyn Inputs>> {
    let files = task.inputs().into_iter().map(|input| ltx2_types::InputFile {
        id: input.id,
        kind: input.kind,
        path: input.source.to_string().into(),
    });
    Ok(Box::new(ltx2_media::FileInputs::new(files.collect(), ltx2_types::ImageLimits::default())))
}

/// Returns the streams of the source of `task`, if it has one.
#[cfg(feature = "media")]
pub fn probe(task: &Task) -> anyhow::Result<Option<SourceInfo>> {
    use anyhow::Context;

    let Some((kind, source)) = task.source() else { return Ok(None) };
    let file = source.to_string();
    let probed = ltx2_media::probe_source(file.as_ref(), ltx2_types::ImageLimits::default());
    Ok(Some(probed.with_context(|| format!("{} {file}", kind.name()))?))
}

/// Returns no inputs, or an error for a task that has some: a build without ffmpeg has no decoder.
#[cfg(not(feature = "media"))]
pub fn open(task: &Task) -> anyhow::Result<Box<dyn Inputs>> {
    match task.inputs().first() {
        None => Ok(Box::new(ltx2_devtools::DecodedImages::default())),
        Some(input) => anyhow::bail!(
            "{} {}: this build cannot read media files; build ltx2 with the feature `media`",
            input.kind.name(),
            input.source
        ),
    }
}

/// Returns `None`, or an error for a task with a source: a build without ffmpeg has no demuxer.
#[cfg(not(feature = "media"))]
pub fn probe(task: &Task) -> anyhow::Result<Option<SourceInfo>> {
    open(task).map(|_| None)
}
