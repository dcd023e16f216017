//! What the emulator is told from outside: environment variables, read once.

use std::path::PathBuf;
use std::sync::LazyLock;

/// Whether kernels are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Kernels and products are computed.
    Run,
    /// They are checked and counted; the device's memory holds nothing, and reads as zeros.
    Count,
}

/// All that can be set.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Settings {
    /// `LTX2_EMULATED_MODE`: `run` or `count`.
    pub(crate) mode: Mode,
    /// `LTX2_EMULATED_MEMORY`, in GiB there, in bytes here: what the card has.
    pub(crate) memory: u64,
    /// `LTX2_EMULATED_CAPABILITY`: major and minor.
    pub(crate) capability: (i32, i32),
    /// `LTX2_EMULATED_REPORT`: where the counts go, at the end and every 50 ms before; `{pid}` in it is the process's number.
    pub(crate) report: Option<PathBuf>,
    /// `LTX2_EMULATED_FAULT`: the device is lost at the launch of this number, from 1 on.
    pub(crate) fault: Option<u64>,
    /// `LTX2_EMULATED_TRACE`: 1 prints every call.
    pub(crate) trace: bool,
    /// What could not be understood. The device does not open then.
    pub(crate) problem: Option<String>,
}

impl Settings {
    /// From variables by name.
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
                settings.problem = Some(format!("{name} is {value}, but it must be {wanted}"));
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
        set("LTX2_EMULATED_FAULT", "the number of a launch", &mut |settings, value| {
            settings.fault = Some(value.parse().ok()?);
            Some(())
        });
        set("LTX2_EMULATED_CAPABILITY", "as 9.0", &mut |settings, value| {
            let (major, minor) = value.split_once('.')?;
            settings.capability = (major.parse().ok()?, minor.parse().ok()?);
            Some(())
        });
        settings
    }
}

/// This process's.
pub(crate) fn settings() -> &'static Settings {
    static SETTINGS: LazyLock<Settings> = LazyLock::new(|| Settings::read(|name| std::env::var(name).ok()));
    &SETTINGS
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: &str, value: &str) -> Settings {
        Settings::read(|asked| (asked == name).then(|| value.to_owned()))
    }

    #[test]
    fn what_is_not_said_is_a_whole_card_that_runs() {
        let settings = Settings::read(|_| None);
        assert_eq!((settings.mode, settings.memory, settings.capability), (Mode::Run, 141 << 30, (9, 0)));
        assert!(settings.report.is_none() && !settings.trace && settings.problem.is_none());
    }

    #[test]
    fn what_is_said_is_taken() {
        assert_eq!(with("LTX2_EMULATED_MODE", "count").mode, Mode::Count);
        assert_eq!(with("LTX2_EMULATED_MEMORY", "0.5").memory, 1 << 29);
        assert_eq!(with("LTX2_EMULATED_CAPABILITY", "12.1").capability, (12, 1));
        assert_eq!(with("LTX2_EMULATED_FAULT", "7").fault, Some(7));
        let report = with("LTX2_EMULATED_REPORT", "/x/{pid}.txt").report.unwrap();
        assert_eq!(report, PathBuf::from(format!("/x/{}.txt", std::process::id())));
    }

    #[test]
    fn what_cannot_be_understood_is_said() {
        for (name, value) in
            [("MODE", "fast"), ("MEMORY", "-1"), ("MEMORY", "much"), ("CAPABILITY", "9"), ("FAULT", "soon")]
        {
            let name = format!("LTX2_EMULATED_{name}");
            let problem = with(&name, value).problem.unwrap();
            assert!(problem.starts_with(&format!("{name} is {value}, but")), "{problem}");
        }
    }
}
