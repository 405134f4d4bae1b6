//! `calotype export`: a copy of a picture in another format, its recipe inside.

use super::Failure;
use super::picture_options::ExportOptions;
use super::report::{print_error, print_text};
use crate::gallery::message::Caption;
use crate::gallery::{open_picture, store};

pub(super) fn run(options: &ExportOptions) -> Result<(), Failure> {
    let failed = |error: crate::gallery::GalleryError| Failure::Work(error.for_people());
    store::check_file(&options.output).map_err(|error| Failure::Usage(error.for_people()))?;
    let picture = open_picture(&options.image).map_err(failed)?;
    if let Some(warning) = &picture.warning {
        print_error(warning);
    }
    let caption = Caption::of(picture.record, picture.infotext);
    if let (Caption::Nothing, Some(recipe)) = (&caption, &picture.recipe) {
        let tool = recipe.tool.as_deref().unwrap_or("another program");
        print_error(&format!("the recipe stays behind: that of {tool} has no form for the copy"));
    }
    let path = store::save_as(&options.output, &picture.image, &caption, options.quality).map_err(failed)?;
    print_text(&path.display().to_string());
    Ok(())
}
