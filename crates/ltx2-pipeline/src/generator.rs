//! The engine as a [`Generator`].

use ltx2_types::{Device, Failure, Generator, Job, Output, Provenance, Report, ValidRequest, Watch};

use crate::device::GpuInfo;
use crate::engine::{Engine, NoProbe, RunContext};
use crate::error::PipelineError;
use crate::plan::plan_request;

impl Generator for Engine {
    fn generate(&mut self, job: Job<'_>, output: &mut dyn Output, watch: &dyn Watch) -> Result<Report, Failure> {
        let plan = plan_request(job.request, &self.models().capabilities()).map_err(PipelineError::Request)?;
        let noise = self.noise(plan.seed);
        let context = RunContext { inputs: job.inputs, noise, output, watch, probe: &mut NoProbe };
        let report = self.run_request(&plan, context, job.request)?;
        Ok(Report { pipeline: plan.pipeline, enhanced_prompt: report.enhanced_prompt })
    }

    fn is_loaded(&self) -> bool {
        Engine::is_loaded(self)
    }

    fn provenance(&self, request: &ValidRequest) -> Option<Provenance> {
        let capabilities = self.models().capabilities();
        let pipeline = plan_request(request, &capabilities).ok()?.pipeline;
        Some(Provenance { model_version: capabilities.version, pipeline })
    }

    fn device(&self) -> Device {
        self.settings().execution().device
    }

    fn gpu_name(&self) -> Option<String> {
        GpuInfo::of(&self.settings().device).map(|gpu| gpu.name)
    }
}
