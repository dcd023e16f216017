//! Names of fields in messages.

use serde_json::Value;

use crate::error::shortened;

/// Returns `name`, shortened if it is very long.
pub(super) fn short_name(name: &str) -> String {
    match shortened(name.into()) {
        Value::String(name) => name,
        _ => name.into(),
    }
}

/// Returns the message for the unknown field `name`, with the nearest of the `known` ones.
pub(crate) fn unknown_name(name: &str, known: &[&str]) -> String {
    let name = short_name(name);
    let nearest = known.iter().map(|known| (strsim::osa_distance(&name, known), known)).min();
    match nearest {
        Some((distance, nearest)) if distance <= 1 + nearest.len() / 4 => {
            format!("{name} is not a known field; did you mean {nearest}?")
        }
        _ => format!("{name} is not a known field"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_names_get_the_nearest_known_one() {
        let known = ["width", "height", "num_frames", "num_inference_steps"];
        let message = |name| unknown_name(name, &known);
        assert_eq!(message("widht"), "widht is not a known field; did you mean width?");
        assert_eq!(message("numframes"), "numframes is not a known field; did you mean num_frames?");
        assert_eq!(
            message("inference_steps"),
            "inference_steps is not a known field; did you mean num_inference_steps?"
        );
        assert_eq!(message("colour"), "colour is not a known field");
        assert!(message(&"x".repeat(100_000)).len() < 1000);
    }
}
