mod between;
mod commands;
mod fixture;
mod recipes;
mod streams;
mod training;
mod trust;
