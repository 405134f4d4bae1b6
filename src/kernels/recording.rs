//! How repeated computations are recorded, whatever records them.

use candle_core::{Result, Shape, Tensor, TensorId};

/// What records on a device. There is none but for NVIDIA cards.
pub(super) trait Recorder {
    /// What was recorded.
    type Recording;

    /// Runs what will be recorded later, and keeps what recording needs.
    fn rehearse<R>(&self, run: impl FnOnce() -> R) -> R;

    /// Records what `run` asks the device for, without its being done; none where that fails.
    fn record(&self, run: impl FnOnce() -> Result<()>) -> Option<Self::Recording>;

    /// Has it done.
    fn launch(&self, recording: &Self::Recording) -> Result<()>;

    /// Whether what is recorded has been found to give what the same gives unrecorded; said once by [`Recorder::prove`].
    fn is_proven(&self) -> bool;

    /// Says so.
    fn prove(&self);
}

/// Computations by name, and how far each is.
pub(super) struct Computations<R> {
    known: Vec<(TensorId, Stage<R>)>,
}

enum Stage<R> {
    /// It ran once, with a result of this shape.
    Rehearsed(Shape),
    /// It is launched.
    Recorded(Recorded<R>),
    /// It cannot be recorded.
    Unrecordable,
}

struct Recorded<R> {
    /// Where it finds its inputs.
    inputs: Vec<Tensor>,
    /// Where it leaves its result.
    result: Tensor,
    recording: R,
}

impl<R> Default for Computations<R> {
    fn default() -> Self {
        Self { known: Vec::new() }
    }
}

impl<R> Computations<R> {
    /// Runs `compute`, in whatever way.
    pub fn run<E: From<candle_core::Error>>(
        &mut self,
        recorder: &impl Recorder<Recording = R>,
        id: TensorId,
        inputs: &[Tensor],
        compute: impl Fn(&[Tensor]) -> std::result::Result<Tensor, E>,
    ) -> std::result::Result<Tensor, E> {
        let Some((_, stage)) = self.known.iter_mut().find(|(known, _)| *known == id) else {
            let result = recorder.rehearse(|| compute(inputs))?;
            self.known.push((id, Stage::Rehearsed(result.shape().clone())));
            return Ok(result);
        };
        if let Stage::Rehearsed(shape) = stage {
            *stage = match Recorded::new(recorder, shape, inputs, &compute) {
                Ok(Some(recorded)) => Stage::Recorded(recorded),
                Ok(None) | Err(_) => Stage::Unrecordable,
            };
        }
        if let Stage::Recorded(recorded) = stage {
            match recorded.launch(recorder, inputs) {
                Ok(result) if recorder.is_proven() => return Ok(result),
                Ok(result) => {
                    let expected = compute(inputs)?;
                    if is_close(&result, &expected)? {
                        recorder.prove();
                        return Ok(result);
                    }
                    tracing::warn!("what this card records is not what it computes: nothing is recorded");
                    *stage = Stage::Unrecordable;
                    return Ok(expected);
                }
                Err(error) => {
                    tracing::warn!(%error, "a recorded computation failed: it is computed unrecorded");
                    *stage = Stage::Unrecordable;
                }
            }
        }
        compute(inputs)
    }
}

impl<R> Recorded<R> {
    fn new<E: From<candle_core::Error>>(
        recorder: &impl Recorder<Recording = R>,
        shape: &Shape,
        inputs: &[Tensor],
        compute: &impl Fn(&[Tensor]) -> std::result::Result<Tensor, E>,
    ) -> Result<Option<Self>> {
        let Some(first) = inputs.first() else { return Ok(None) };
        let inputs = inputs.iter().map(|x| x.contiguous()?.copy()).collect::<Result<Vec<_>>>()?;
        let result = Tensor::zeros(shape, first.dtype(), first.device())?;
        let recording = recorder.record(|| {
            // Why it fails shows when it is computed unrecorded.
            let computed = compute(&inputs).map_err(|_| candle_core::Error::msg("not recorded"))?;
            result.slice_set(&computed.contiguous()?, 0, 0)
        });
        Ok(recording.map(|recording| Self { inputs, result, recording }))
    }

    fn launch(&self, recorder: &impl Recorder<Recording = R>, inputs: &[Tensor]) -> Result<Tensor> {
        for (place, input) in self.inputs.iter().zip(inputs) {
            place.slice_set(&input.contiguous()?, 0, 0)?;
        }
        recorder.launch(&self.recording)?;
        // The next launch writes over it.
        self.result.copy()
    }
}

/// Whether two results are the same but for rounding; those that are no numbers are not.
fn is_close(found: &Tensor, expected: &Tensor) -> Result<bool> {
    let most = |x: Tensor| x.abs()?.flatten_all()?.max(0)?.to_dtype(candle_core::DType::F32)?.to_scalar::<f32>();
    Ok(most((found - expected)?)? <= 1e-2 * most(expected.clone())?)
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use super::*;
    use crate::kernels::samples::wave;

    /// Records nothing: a launch leaves in the result what it was told to.
    #[derive(Default)]
    struct Fake {
        cannot_record: bool,
        cannot_launch: Cell<bool>,
        is_proven: Cell<bool>,
        launches: Cell<usize>,
        recorded: RefCell<Option<Tensor>>,
    }

    impl Recorder for Fake {
        type Recording = ();

        fn rehearse<R>(&self, run: impl FnOnce() -> R) -> R {
            run()
        }

        fn record(&self, run: impl FnOnce() -> Result<()>) -> Option<()> {
            run().ok().filter(|()| !self.cannot_record)
        }

        fn launch(&self, (): &()) -> Result<()> {
            if self.cannot_launch.get() {
                candle_core::bail!("no memory");
            }
            self.launches.set(self.launches.get() + 1);
            Ok(())
        }

        fn is_proven(&self) -> bool {
            self.is_proven.get()
        }

        fn prove(&self) {
            self.is_proven.set(true);
        }
    }

    /// Runs twice its input some times, with a note of each run; the sum of each result.
    fn sums(fake: &Fake, inputs: &[Tensor], runs: &Cell<usize>) -> Vec<f32> {
        let mut computations = Computations::default();
        let id = inputs[0].id();
        let compute = |inputs: &[Tensor]| {
            runs.set(runs.get() + 1);
            let result = (&inputs[0] * 2.0)?;
            fake.recorded.replace(Some(result.clone()));
            Ok::<_, candle_core::Error>(result)
        };
        let run = |x: &Tensor| computations.run(fake, id, std::slice::from_ref(x), compute).unwrap();
        inputs.iter().map(run).map(|y| y.sum_all().unwrap().to_scalar::<f32>().unwrap()).collect()
    }

    fn inputs() -> Vec<Tensor> {
        (1..5).map(|i| (wave(&[2, 3], 0.3) * f64::from(i)).unwrap()).collect()
    }

    fn expected(inputs: &[Tensor]) -> Vec<f32> {
        inputs.iter().map(|x| (x * 2.0).unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap()).collect()
    }

    #[test]
    fn the_second_time_is_recorded_proven_once_and_launched_from_then_on() {
        let (fake, runs, inputs) = (Fake::default(), Cell::new(0), inputs());
        let found = sums(&fake, &inputs, &runs);
        // Once to rehearse, to record, and to prove.
        assert_eq!((runs.get(), fake.launches.get(), fake.is_proven.get()), (3, 3, true));
        // What was recorded was left there while it was recorded.
        let expected = expected(&inputs);
        assert_eq!(found[..2], expected[..2]);
        assert_eq!(found[2..], [expected[1]; 2], "a launch of the fake computes nothing");
    }

    #[test]
    fn what_cannot_be_recorded_or_launched_is_computed() {
        let inputs = inputs();
        let unrecordable = Fake { cannot_record: true, ..Fake::default() };
        let unlaunchable = Fake::default();
        unlaunchable.cannot_launch.set(true);
        for fake in [unrecordable, unlaunchable] {
            let runs = Cell::new(0);
            assert_eq!(sums(&fake, &inputs, &runs), expected(&inputs));
            assert_eq!((runs.get(), fake.launches.get()), (5, 0), "one of them was the recording");
        }
    }

    #[test]
    fn a_recording_that_gives_something_else_is_given_up() {
        let (x, fake) = (wave(&[2, 3], 0.3), Fake::default());
        let mut computations = Computations::default();
        let calls = Cell::new(0);
        // The second call, which is recorded, is another computation.
        let compute = |inputs: &[Tensor]| {
            calls.set(calls.get() + 1);
            &inputs[0] * if calls.get() == 2 { 3.0 } else { 2.0 }
        };
        let expected = (&x * 2.0).unwrap().to_vec2::<f32>().unwrap();
        for _ in 0..4 {
            let found = computations.run(&fake, x.id(), std::slice::from_ref(&x), compute).unwrap();
            assert_eq!(found.to_vec2::<f32>().unwrap(), expected);
        }
        assert!(!fake.is_proven.get());
    }
}
