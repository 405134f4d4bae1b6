//! Calotype, a native desktop studio for Stable Diffusion. This page is the map of the house.
//!
//! A functional core in an imperative shell: `diffusion` is pure numerics, `checkpoint` and `gallery` are disk,
//! `inference` is the thread, `state` is what is true, `ui` draws it. Plain data at every wall: no tensor leaves the
//! engine, no egui type enters `state`; the `message` files and `request` are the vocabulary. Three words, three
//! directions: an `Action` goes from the user to the app, a `Command` from the app to a thread, an `Event` back.
//!
//! # The rooms
//!
//! Each room may use what stands in its line and nothing else; `tests/it/architecture.rs` holds the table. `thiserror`
//! and `tracing` are everybody's.
//!
//! | room | what it is for | uses of ours | uses from outside |
//! |---|---|---|---|
//! | `main` | the front door | `app`, `cli`, `folders`, `inference`, `gallery`, `library`, `downloads` | anyhow, tracing-subscriber |
//! | [`request`] | what may be asked: a generation request whose every part is checked when it is made | - | serde |
//! | [`prompt`] | the prompt language: text to chunks of tokens | `request` | tokenizers, serde, serde_json |
//! | [`printable`] | a stranger's text made fit to be shown | - | - |
//! | [`latent_image`] | plain f32 latents and their rough colours | - | image |
//! | [`worker`] | a thread with a bounded inbox and outbox, which always ends | - | crossbeam-channel |
//! | [`kernels`] | conv, norm and activation, attention, linear: how the heavy arithmetic runs on this hardware, the processor or a card; the only room with `unsafe` arithmetic, and with a `cfg` for hardware | - | candle-core, candle-nn, gemm, half, libc, rayon, **std::env** |
//! | [`diffusion`] | pure numerics: text encoder, U-Net, VAE, noise schedule, prediction, guidance, samplers | `request`, `prompt`, `latent_image`, `kernels` | candle-core, candle-nn, serde, serde_json, image |
//! | [`checkpoint`] | files on disk to named weights and configs: model folders, single files, the built-in model, LoRAs, embeddings | `printable`, `request`, `prompt`, `diffusion`, `kernels` | candle-core, candle-nn, safetensors, flate2, half, rayon, serde, serde_json, sha2, zip, **std::fs** |
//! | [`inference`] | the thread that owns the model: requests in, previews and pictures out; chooses the device and its precision | `request`, `prompt`, `latent_image`, `worker`, `diffusion`, `checkpoint`, `kernels`, `folders` | candle-core, core_affinity, crossbeam-channel, image, serde, rayon, **std::env**, **std::fs** (which processors share a core; compiled kernels that are kept) |
//! | [`gallery`] | finished pictures on disk, their recipes inside | `request`, `worker` | flate2, image, png, serde, serde_json, tempfile, trash, jiff, **std::fs** |
//! | [`downloads`] | models from the network onto the disk: Hugging Face repositories and single files, resumed and verified | `printable`, `worker`, `inference`'s cancel token | fs4, jiff, percent-encoding, serde, serde_json, sha1, sha2, ureq, url, **std::fs** |
//! | [`library`] | folders of models: listed from their headers, watched, hashed, found by name and by hash | `printable`, `worker`, `checkpoint` | notify, serde, serde_json, sha2, tempfile, **std::fs** |
//! | [`folders`] | where things are kept on this machine | - | directories, **std::fs** |
//! | [`state`] | what is true in the window, without drawing it: form, job, queue, action, settings | `request`, `prompt`, `latent_image`, `inference`'s messages and cancel token, `gallery`'s messages and record, `library`'s messages and index, `downloads`' messages | image, serde, serde_json |
//! | [`ui`] | draws the state: panels, textures (sole owner of textures), theme (sole owner of colours) | `state`, `request`, `prompt`, `latent_image`, and the same messages | egui, eframe, image |
//! | [`app`] | the window: drains events, runs effects, draws, hands actions over | all but `diffusion`, `checkpoint`, `kernels`, `cli` | eframe, egui, image, rfd, opener, serde_json, **std::fs** |
//! | [`cli`] | the same engine without a window | all but `diffusion`, `checkpoint`, `kernels`, `state`, `ui`, `app` | clap, indicatif, ctrlc, image, jiff, serde_json, **std::fs** |
//!
//! # How a picture flows
//!
//! ```text
//!  window thread                              inference thread                            gallery thread
//!  form (strings, sliders) -> GenerationRequest (checked, seed concrete)
//!    Command::Generate{job} ================>
//!                               prompt -> chunks of 77 tokens -> embeddings [1, 77*n, D]
//!                               noise(seed) [1, 4, H/8, W/8]; sigmas (f64, ..., 0)
//!                               per step: denoised = denoise(x, sigma); x = solver.step(..)
//!    <== Event::Step{preview: LatentImage,      offered: a late preview may be dropped
//!                    picture: Option<RgbImage>}  by TAESD, as often as there is time
//!                               latents / scale -> VAE -> RGB
//!    <== Event::Finished{image: Arc<RgbImage>}  sent: never dropped
//!    Command::Save{image, record} ========================================>  hidden file, fsync, rename
//!    <== Event::Saved{entry} =============================================   recipe inside the PNG
//! ```
//!
//! A job ends in exactly one of `Finished`, `Cancelled`, `Failed`; a panic in it is a failure, and the thread lives.
//! Cancel is a token inside the command, looked at between the blocks of the computation. Workers wake the window
//! through an injected function and never see egui; the window repaints on events only. The picture files are the truth.

pub mod app;
pub mod checkpoint;
pub mod cli;
pub mod diffusion;
pub mod downloads;
pub mod folders;
pub mod gallery;
pub mod inference;
pub mod kernels;
pub mod latent_image;
pub mod library;
pub mod printable;
pub mod prompt;
pub mod request;
pub mod state;
pub mod ui;
pub mod worker;
