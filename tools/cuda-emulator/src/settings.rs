//! Settings, read once from environment variables. The host program is not aware of the emulator, so there is
//! no other way in.

use std::path::PathBuf;
use std::sync::LazyLock;

/// Whether kernels are executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Kernels and matrix products are computed.
    Run,
    /// Kernels and matrix products are checked and counted. Device memory is not backed, and reads as zeros.
    Count,
}

/// Settings of the emulator.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct EmulatorSettings {
    /// `LTX2_EMULATED_MODE`: `run` or `count`.
    pub(crate) mode: Mode,
    /// `LTX2_EMULATED_MEMORY`: device memory; GiB in the variable, bytes here.
    pub(crate) memory: u64,
    /// `LTX2_EMULATED_CAPABILITY`: major and minor compute capability.
    pub(crate) capability: (i32, i32),
    /// `LTX2_EMULATED_REPORT`: path of the report, written every 50 ms and at exit. `{pid}` is replaced by the process
    /// id.
    pub(crate) report: Option<PathBuf>,
    /// `LTX2_EMULATED_FAULT`: number of the launch, from 1, at which the device is lost.
    pub(crate) fault: Option<u64>,
    /// `LTX2_EMULATED_TRACE`: `1` prints every call on standard error.
    pub(crate) trace: bool,
    /// Description of an invalid value. `cuInit` fails if there is one.
    pub(crate) problem: Option<String>,
}

impl EmulatorSettings {
    /// Reads the settings with `variable`, which looks up an environment variable by name.
    pub(crate) fn read(variable: impl Fn(&str) -> Option<String>) -> Self {
        let mut settings = Self {
            mode: Mode::Run,
            memory: 141 << 30,
            capability: (9, 0),
            report: variable("LTX2_EMULATED_REPORT")
                .map(|path| path.replace("{pid}", &std::process::id().to_string()).into()),
            fault: None,
            trace: variable("LTX2_EMULATED_TRACE").is_some_and(|value| value == "1"),
            problem: None,
        };
        let mut set = |name: &str, wanted: &str, take: &mut dyn FnMut(&mut Self, &str) -> Option<()>| {
            let Some(value) = variable(name) else { return };
            if take(&mut settings, &value).is_none() {
                settings.problem = Some(format!("{name} is {value}, expected {wanted}"));
            }
        };
        set("LTX2_EMULATED_MODE", "run or count", &mut |settings, value| {
            settings.mode = match value {
                "run" => Mode::Run,
                "count" => Mode::Count,
                _ => return None,
            };
            Some(())
        });
        set("LTX2_EMULATED_MEMORY", "GiB, from 0.1 to 4096", &mut |settings, value| {
            let gib: f64 = value.parse().ok().filter(|gib| (0.1..=4096.0).contains(gib))?;
            settings.memory = (gib * f64::from(1 << 30)) as u64;
            Some(())
        });
        set("LTX2_EMULATED_FAULT", "a launch number", &mut |settings, value| {
            settings.fault = Some(value.parse().ok()?);
            Some(())
        });
        set("LTX2_EMULATED_CAPABILITY", "MAJOR.MINOR, such as 9.0", &mut |settings, value| {
            let (major, minor) = value.split_once('.')?;
            settings.capability = (major.parse().ok()?, minor.parse().ok()?);
            Some(())
        });
        settings
    }
}

/// Settings of this process.
pub(crate) fn settings() -> &'static EmulatorSettings {
    static SETTINGS: LazyLock<EmulatorSettings> =
        LazyLock::new(|| EmulatorSettings::read(|name| std::env::var(name).ok()));
    &SETTINGS
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: &str, value: &str) -> EmulatorSettings {
        EmulatorSettings::read(|asked| (asked == name).then(|| value.to_owned()))
    }

    #[test]
    fn defaults_are_an_h200_in_run_mode() {
        let settings = EmulatorSettings::read(|_| None);
        assert_eq!((settings.mode, settings.memory, settings.capability), (Mode::Run, 141 << 30, (9, 0)));
        assert!(settings.report.is_none() && !settings.trace && settings.problem.is_none());
    }

    #[test]
    fn variables_override_the_defaults() {
        assert_eq!(with("LTX2_EMULATED_MODE", "count").mode, Mode::Count);
        assert_eq!(with("LTX2_EMULATED_MEMORY", "0.5").memory, 1 << 29);
        assert_eq!(with("LTX2_EMULATED_CAPABILITY", "12.1").capability, (12, 1));
        assert_eq!(with("LTX2_EMULATED_FAULT", "7").fault, Some(7));
        let report = with("LTX2_EMULATED_REPORT", "/x/{pid}.txt").report.unwrap();
        assert_eq!(report, PathBuf::from(format!("/x/{}.txt", std::process::id())));
    }

    #[test]
    fn invalid_values_are_reported_with_their_variable() {
        for (name, value) in
            [("MODE", "fast"), ("MEMORY", "-1"), ("MEMORY", "much"), ("CAPABILITY", "9"), ("FAULT", "soon")]
        {
            let name = format!("LTX2_EMULATED_{name}");
            let problem = with(&name, value).problem.unwrap();
            assert!(problem.starts_with(&format!("{name} is {value}, expected")), "{problem}");
        }
    }
}
