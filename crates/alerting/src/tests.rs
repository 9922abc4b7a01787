mod files;
mod templates;
mod timelines;
