//! Metadata of a result: prompt, seed, model version and settings, as JSON.

use ltx2_types::{Guidance, LoraSource, Provenance, ValidRequest};
use serde_json::{Value, json};

/// Returns the metadata of the result of `request`; `None` if the request excludes it.
///
/// It is the same for every client and run: no task id, time or input is in it.
pub fn metadata(request: &ValidRequest, provenance: Option<&Provenance>) -> Option<String> {
    let ValidRequest { video_guidance, audio_guidance, .. } = request;
    let value = json!({
        "software": "ltx2",
        "model_version": provenance.map(|provenance| &provenance.model_version),
        "pipeline": provenance.map(|provenance| provenance.pipeline).or(request.pipeline),
        "task": task_name(request),
        "prompt": request.prompt,
        "negative_prompt": request.negative_prompt,
        "enhance_prompt": request.enhance_prompt,
        "seed": request.seed,
        "width": request.width,
        "height": request.height,
        "num_frames": request.num_frames,
        "frame_rate": request.frame_rate.as_f64(),
        "num_inference_steps": request.num_inference_steps,
        "sampler": request.sampler,
        "video_guidance": guidance(video_guidance),
        "audio_guidance": guidance(audio_guidance),
        "camera": request.camera,
        "loras": request.loras.iter().map(|lora| json!({ "name": lora_name(&lora.source), "strength": lora.strength }))
            .collect::<Vec<_>>(),
    });
    request.output.metadata.then(|| value.to_string())
}

fn guidance(guidance: &Guidance) -> Value {
    let Guidance { cfg, stg, modality, rescale } = guidance;
    json!({ "cfg": cfg, "stg": stg, "modality": modality, "rescale": rescale })
}

/// Returns the kind of the task without its inputs, whose names may be private.
fn task_name(request: &ValidRequest) -> Value {
    match serde_json::to_value(&request.task) {
        Ok(Value::Object(task)) => task.into_iter().next().map_or(Value::Null, |(name, _)| name.into()),
        Ok(name) => name,
        Err(_) => Value::Null,
    }
}

/// Returns the name of a LoRA without its folder.
fn lora_name(source: &LoraSource) -> &str {
    match source {
        LoraSource::Name(name) => name,
        LoraSource::File(path) => std::path::Path::new(path).file_stem().and_then(|stem| stem.to_str()).unwrap_or("?"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ltx2_types::{ImageInput, InputRef, Limits, LoraInput, OutputSpec, Pipeline, Task};

    #[test]
    fn metadata_has_the_settings_and_the_model_but_no_inputs() {
        let request = ValidRequest {
            prompt: "a \"red\" fox".into(),
            seed: u64::MAX,
            task: Task::ImageToVideo { images: vec![ImageInput::first_frame(InputRef::Upload("private.png".into()))] },
            loras: vec![LoraInput { source: LoraSource::File("/home/me/ink.safetensors".into()), strength: 0.5 }],
            ..Limits::server().defaults
        };
        let provenance = Provenance { model_version: "2.3.0".into(), pipeline: Pipeline::TwoStage };
        let text = metadata(&request, Some(&provenance)).unwrap();
        assert!(!text.contains("private") && !text.contains("/home"), "{text}");
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&value["prompt"], &value["seed"]), (&json!("a \"red\" fox"), &json!(u64::MAX)));
        assert_eq!((&value["model_version"], &value["pipeline"]), (&json!("2.3.0"), &json!("two-stage")));
        assert_eq!((&value["task"], &value["num_frames"]), (&json!("image_to_video"), &json!(121)));
        assert_eq!(value["loras"], json!([{ "name": "ink", "strength": 0.5 }]));
        assert_eq!(value["video_guidance"]["cfg"], 3.0);
    }

    #[test]
    fn a_request_can_exclude_metadata() {
        let output = OutputSpec { metadata: false, ..OutputSpec::default() };
        assert_eq!(metadata(&ValidRequest { output, ..Limits::server().defaults }, None), None);
    }
}
