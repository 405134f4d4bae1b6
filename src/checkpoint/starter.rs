//! The model inside the binary.

/// Its name for people.
pub const STARTER_NAME: &str = "Calotype starter";

macro_rules! embedded {
    ($($path:literal),+ $(,)?) => {
        /// The files of `assets/starter-model` by their path inside the model.
        pub(super) static STARTER_FILES: &[(&str, &[u8])] = &[
            $(($path, include_bytes!(concat!("../../assets/starter-model/", $path)))),+
        ];
    };
}

embedded![
    "calotype.json",
    "model_index.json",
    "scheduler/scheduler_config.json",
    "text_encoder/config.json",
    "text_encoder/model.safetensors",
    "tokenizer/tokenizer.json",
    "tokenizer/tokenizer_config.json",
    "unet/config.json",
    "unet/diffusion_pytorch_model-00001-of-00003.safetensors",
    "unet/diffusion_pytorch_model-00002-of-00003.safetensors",
    "unet/diffusion_pytorch_model-00003-of-00003.safetensors",
    "unet/diffusion_pytorch_model.safetensors.index.json",
    "vae/config.json",
    "vae/diffusion_pytorch_model.safetensors",
];
