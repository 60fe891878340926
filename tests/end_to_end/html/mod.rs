//! The HTML viewer in a browser: what a reader does, and the figures that they then see.

mod choices;
mod drawing;
mod hostile;
mod page;
mod screenshot;
