//! A pair of values, one per modality.

use serde::{Deserialize, Serialize};

/// One value per modality.
///
/// All methods process `video` before `audio`, the order in which the official pipelines draw noise.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct AudioVideo<T> {
    /// Value of the video modality.
    pub video: T,
    /// Value of the audio modality.
    pub audio: T,
}

impl<T> AudioVideo<T> {
    /// Applies `f` to both values, `video` first.
    pub fn map<U>(self, mut f: impl FnMut(T) -> U) -> AudioVideo<U> {
        AudioVideo { video: f(self.video), audio: f(self.audio) }
    }

    /// Applies `f` to both values, `video` first, and returns the first error.
    pub fn try_map<U, E>(self, mut f: impl FnMut(T) -> Result<U, E>) -> Result<AudioVideo<U>, E> {
        Ok(AudioVideo { video: f(self.video)?, audio: f(self.audio)? })
    }

    /// Pairs both values with those of `other`.
    pub fn zip<U>(self, other: AudioVideo<U>) -> AudioVideo<(T, U)> {
        AudioVideo { video: (self.video, other.video), audio: (self.audio, other.audio) }
    }

    /// Borrows both values.
    pub fn as_ref(&self) -> AudioVideo<&T> {
        AudioVideo { video: &self.video, audio: &self.audio }
    }

    /// Mutably borrows both values.
    pub fn as_mut(&mut self) -> AudioVideo<&mut T> {
        AudioVideo { video: &mut self.video, audio: &mut self.audio }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_visit_video_before_audio() {
        let pair = AudioVideo { video: 1, audio: 2 };
        let mut visited = Vec::new();
        assert_eq!(pair.map(|value| visited.push(value)), AudioVideo::default());
        assert_eq!(visited, [1, 2]);
        let halved = |value: i32| if value % 2 == 0 { Ok(value / 2) } else { Err(value) };
        assert_eq!(AudioVideo { video: 3, audio: 5 }.try_map(halved), Err(3));
        assert_eq!(AudioVideo { video: 4, audio: 6 }.try_map(halved), Ok(AudioVideo { video: 2, audio: 3 }));
    }

    #[test]
    fn zip_pairs_values_of_the_same_modality() {
        let pair = AudioVideo { video: 1, audio: 2 };
        let zipped = pair.as_ref().zip(AudioVideo { video: 'v', audio: 'a' });
        assert_eq!(zipped, AudioVideo { video: (&1, 'v'), audio: (&2, 'a') });
    }
}
