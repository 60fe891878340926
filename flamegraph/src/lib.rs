//! The profile model, and every picture or file format made of it
