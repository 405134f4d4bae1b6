//! `calotype info`: the recipe stored in a picture.

use super::Failure;
use super::options::InfoOptions;
use super::report::{print_error, print_text};
use crate::gallery::open_picture;

pub(super) fn run(options: &InfoOptions) -> Result<(), Failure> {
    let picture = open_picture(&options.image).map_err(|error| Failure::Work(error.for_people()))?;
    if let Some(warning) = &picture.warning {
        print_error(warning);
    }
    if let Some(infotext) = &picture.infotext {
        print_text(infotext);
        return Ok(());
    }
    match picture.record.map(|record| record.to_json()) {
        Some(Ok(json)) => {
            print_text(&json);
            Ok(())
        }
        Some(Err(error)) => Err(Failure::Work(error.to_string())),
        None => Err(Failure::Work(format!("no recipe is stored in {}", options.image.display()))),
    }
}
