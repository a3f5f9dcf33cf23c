mod commands;
mod rows;
mod world;
