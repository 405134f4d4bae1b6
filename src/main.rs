//! The front door: the studio without arguments, else the command line.

fn main() {}
