//! What becomes of a run that failed.

use ltx2_models::checkpoint::message;
use ltx2_types::ValidRequest;

use super::Engine;
use crate::device::{Fault, fault};
use crate::plan::{choose, estimate_of, largest_that_fits};
use crate::{DeviceMemory, PipelineError, Shortage};

impl Engine {
    /// Tells the device's failures apart from others, and makes the engine usable again after one that it survives.
    /// `asked` is what the run was for.
    pub(crate) fn settled(&mut self, error: PipelineError, asked: Option<&ValidRequest>) -> PipelineError {
        let Some(cause) = error.tensor() else { return error };
        match fault(cause, &self.settings.device) {
            None => error,
            Some(Fault::Lost) => PipelineError::DeviceLost(message(cause)),
            Some(Fault::OutOfMemory) => {
                self.unload();
                PipelineError::OutOfMemory(Box::new(self.shortage(asked, DeviceMemory::of(&self.settings.device))))
            }
        }
    }

    /// What `asked` would have needed, and what fits into the free part of `memory`.
    fn shortage(&self, asked: Option<&ValidRequest>, memory: Option<DeviceMemory>) -> Shortage {
        let (facts, sizes) = (self.models.facts(), self.models.parameters(self.dtype()));
        let computing = self.settings.computing();
        let peak = |request: &ValidRequest| Some(estimate_of(&choose(request, &facts).ok()?, &sizes, computing).least);
        let fit = asked.zip(memory).map(|(asked, memory)| largest_that_fits(asked, memory.free, peak));
        Shortage {
            asked: asked.map(|asked| (asked.width, asked.height, asked.num_frames)),
            estimate: asked.and_then(peak),
            memory,
            fit: fit.unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;
    use ltx2_devtools::{PublishedModel, demo_model};
    use ltx2_types::{FailureCode, Limits};

    use super::*;
    use crate::{EngineSettings, ModelSet, Precision};

    fn engine(folder: &tempfile::TempDir) -> Engine {
        demo_model::write(folder.path(), PublishedModel::default(), 0).unwrap();
        let models = ModelSet::open(folder.path()).unwrap();
        Engine::new(models, EngineSettings::new(Device::Cpu, Precision::F32))
    }

    #[test]
    fn a_shortage_says_what_this_model_could_make() {
        let folder = tempfile::tempdir().unwrap();
        let engine = engine(&folder);
        let asked = ValidRequest { width: 1920, height: 1088, num_frames: 241, ..Limits::server().defaults };
        let needed = engine.shortage(Some(&asked), None).estimate.unwrap();
        let memory = DeviceMemory { free: needed / 10 * 9, total: needed };
        let shortage = engine.shortage(Some(&asked), Some(memory));
        assert_eq!(shortage.asked, Some((1920, 1088, 241)));
        let frames = shortage.fit.frames.unwrap();
        assert!((9..241).contains(&frames), "{frames}");
        assert!(shortage.fit.size.is_some());
        let failure = ltx2_types::Failure::from(PipelineError::OutOfMemory(Box::new(shortage)));
        assert_eq!(failure.code, FailureCode::OutOfMemory);
        assert!(failure.message.contains("1920x1088 with 241 frames") && failure.message.contains("would fit"));
    }

    #[test]
    fn on_a_cpu_errors_stay_what_they_are() {
        let error = PipelineError::Tensor(candle_core::Error::Msg("CUDA_ERROR_OUT_OF_MEMORY".into()));
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(engine(&folder).settled(error, None), PipelineError::Tensor(_)));
        assert!(!FailureCode::OutOfMemory.is_fatal() && FailureCode::DeviceLost.is_fatal());
    }
}
