//! Recovery from errors of the device.

use ltx2_models::checkpoint::message;
use ltx2_types::ValidRequest;

use super::Engine;
use crate::device::{DeviceFault, DeviceMemory, device_fault};
use crate::error::{PipelineError, Shortage};
use crate::plan::{estimate, largest_feasible, plan_request};

impl Engine {
    /// Classifies an error of the device. After an out-of-memory error the engine is unloaded and can be used again;
    /// the error names requests smaller than `request` that would fit.
    pub fn recover(&mut self, error: PipelineError, request: Option<&ValidRequest>) -> PipelineError {
        let Some(cause) = error.tensor() else { return error };
        match device_fault(cause, &self.settings().device) {
            None => error,
            Some(DeviceFault::Lost) => PipelineError::DeviceLost(message(cause)),
            Some(DeviceFault::OutOfMemory) => {
                self.unload();
                let memory = DeviceMemory::of(&self.settings().device);
                PipelineError::OutOfMemory(Box::new(self.shortage(request, memory)))
            }
        }
    }

    /// Returns the memory that `request` needs and the requests that would fit into `memory`.
    fn shortage(&self, request: Option<&ValidRequest>, memory: Option<DeviceMemory>) -> Shortage {
        let (model, sizes) = (self.models().capabilities(), self.models().weight_sizes(self.dtype()));
        let execution = self.settings().execution();
        let peak =
            |request: &ValidRequest| Some(estimate(&plan_request(request, &model).ok()?, &sizes, execution).least);
        let feasible = request.zip(memory).map(|(request, memory)| largest_feasible(request, memory.free, peak));
        Shortage {
            requested: request.map(|request| (request.width, request.height, request.num_frames)),
            estimate: request.and_then(peak),
            memory,
            feasible: feasible.unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;
    use ltx2_devtools::{PublishedModel, demo_model};
    use ltx2_types::{Failure, FailureCode, Limits};

    use super::*;
    use crate::engine::EngineSettings;
    use crate::execution::Precision;
    use crate::model_set::ModelSet;

    fn engine(folder: &tempfile::TempDir) -> Engine {
        demo_model::write(folder.path(), PublishedModel::default(), 0).unwrap();
        let models = ModelSet::open(folder.path()).unwrap();
        Engine::new(models, EngineSettings::new(Device::Cpu, Precision::F32))
    }

    #[test]
    fn a_shortage_names_feasible_requests() {
        let folder = tempfile::tempdir().unwrap();
        let engine = engine(&folder);
        let request = ValidRequest { width: 1920, height: 1088, num_frames: 241, ..Limits::server().defaults };
        let needed = engine.shortage(Some(&request), None).estimate.unwrap();
        let memory = DeviceMemory { free: needed / 10 * 9, total: needed };
        let shortage = engine.shortage(Some(&request), Some(memory));
        assert_eq!(shortage.requested, Some((1920, 1088, 241)));
        let frames = shortage.feasible.frames.unwrap();
        assert!((9..241).contains(&frames), "{frames}");
        assert!(shortage.feasible.size.is_some());
        let failure = Failure::from(PipelineError::OutOfMemory(Box::new(shortage)));
        assert_eq!(failure.code, FailureCode::OutOfMemory);
        assert!(failure.message.contains("1920x1088 with 241 frames") && failure.message.contains("would fit"));
    }

    #[test]
    fn errors_on_a_cpu_are_not_errors_of_the_device() {
        let error = PipelineError::Tensor(candle_core::Error::Msg("CUDA_ERROR_OUT_OF_MEMORY".into()));
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(engine(&folder).recover(error, None), PipelineError::Tensor(_)));
        assert!(!FailureCode::OutOfMemory.is_fatal() && FailureCode::DeviceLost.is_fatal());
    }
}
