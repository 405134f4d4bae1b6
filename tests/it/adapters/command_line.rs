//! `calotype generate` with LoRAs and embeddings: by name, into the recipe, and again to the same bytes.
