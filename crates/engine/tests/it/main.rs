//! The engine on a real journal, with a world that the test directs.
mod stage;
mod turns;
mod restarts;
