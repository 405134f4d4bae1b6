//! The families of models in words, by the width of the texts that steer them.

/// By the width of the context or of a text encoder.
pub(in crate::checkpoint) fn by_width(width: usize) -> String {
    match width {
        768 => "Stable Diffusion 1".to_owned(),
        1024 => "Stable Diffusion 2".to_owned(),
        2048 => "Stable Diffusion XL".to_owned(),
        1280 => "the Stable Diffusion XL refiner".to_owned(),
        width => format!("one with texts {width} wide"),
    }
}

/// What a file that has no layer in common with the model is made for, by names that only one family has.
pub(super) fn by_names<'a>(mut names: impl Iterator<Item = &'a str>) -> Option<&'static str> {
    const MARKS: &[(&str, &str)] = &[
        ("lora_te2_", "Stable Diffusion XL"),
        ("text_encoder_2.", "Stable Diffusion XL"),
        ("double_blocks", "Flux"),
        ("single_transformer_blocks", "Flux"),
        ("joint_blocks", "Stable Diffusion 3"),
        ("lora_transformer_", "Stable Diffusion 3 or Flux"),
        ("transformer.", "Stable Diffusion 3 or Flux"),
        ("lora_prior_", "Stable Cascade"),
    ];
    names.find_map(|name| MARKS.iter().find(|(mark, _)| name.contains(mark)).map(|(_, family)| *family))
}
