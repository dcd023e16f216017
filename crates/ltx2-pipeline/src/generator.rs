//! The engine as the worker sees it.

use ltx2_types::{Device, Failure, Generator, Job, Output, Report, Watch};

use crate::engine::NoProbe;
use crate::{Engine, RunContext, plan};

impl Generator for Engine {
    fn generate(&mut self, job: Job<'_>, output: &mut dyn Output, watch: &dyn Watch) -> Result<Report, Failure> {
        let plan = plan::choose(job.request, &self.models().facts())?;
        let noise = self.noise(plan.seed);
        let context = RunContext { inputs: job.inputs, noise, output, watch, probe: &mut NoProbe };
        let report = self.run_plan(&plan, context).map_err(|error| self.settled(error, Some(job.request)))?;
        Ok(Report { pipeline: plan.pipeline, enhanced_prompt: report.enhanced_prompt })
    }

    fn is_loaded(&self) -> bool {
        Engine::is_loaded(self)
    }

    fn device(&self) -> Device {
        self.settings().computing().device
    }
}
