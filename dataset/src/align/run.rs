//! The work itself: each thread takes the next photograph, as long as there is one.
//!
//! A thread has its own pool for what the detector computes in parallel. In one common pool, a thread
//! that waits for a convolution would begin the next photograph meanwhile, and another one within that:
//! so many would lie in memory at once. This way it is one a thread, and with fewer photographs than
//! threads the pools are larger.

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use command::atomic_file::write_atomically;
use nets::Mtcnn;

use super::choose::choose;
use super::journal::Journal;
use super::plan::{Photo, parent};
use super::warp::warp;
use super::{AlignedFace, Outcome, Plan, Record, Summary};
use crate::decode::{LARGEST_PHOTOGRAPH, Photograph};
use crate::error::{Error, Result};
use crate::image::Image;
use crate::source::read_folder;
use crate::write::Encoding;
use std::io::Write;

impl Plan {
    /// Aligns what is left, on as many threads as the process has for parallel work. `tell` hears of each
    /// photograph, from any thread, and says whether to go on; what is then not done, the next run does.
    ///
    /// # Errors
    /// When another process writes to the folder, something can't be written there, or the detector fails.
    /// What can be wrong with a photograph is no error, but its record.
    pub fn run(self, mtcnn: &Mtcnn, tell: impl Fn(&Record) -> bool + Sync) -> Result<Summary> {
        let lock = self.lock()?;
        let journal = Journal::begin(&self.output, &self.settings, self.done.iter().chain(&self.vanished))?;
        let fresh = self.work(mtcnn, &journal, &tell)?;
        let aligned = fresh.len();
        let mut records = [self.done.as_slice(), &fresh].concat();
        records.sort_by(|a, b| a.path.cmp(&b.path));
        let mut all: Vec<&Record> = records.iter().chain(&self.vanished).collect();
        all.sort_by(|a, b| a.path.cmp(&b.path));
        journal.finish(all)?;
        drop(lock);
        let left = self.left.len() - aligned;
        Ok(Summary::new(records, self.set_aside, self.others, self.vanished.len(), self.done.len(), left))
    }

    fn work(&self, mtcnn: &Mtcnn, journal: &Journal, tell: &(impl Fn(&Record) -> bool + Sync)) -> Result<Vec<Record>> {
        let threads = rayon::current_num_threads();
        let workers = threads.min(self.left.len());
        let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
        let (records, failure) = (Mutex::new(Vec::new()), Mutex::new(None));
        let hold = |slot: &Mutex<Option<Error>>, error| {
            stop.store(true, Ordering::Relaxed);
            slot.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        };
        let one_after_another = || {
            while !stop.load(Ordering::Relaxed) {
                let Some(photo) = self.left.get(next.fetch_add(1, Ordering::Relaxed)) else { break };
                let done = self.align(photo, mtcnn).and_then(|record| journal.add(&record).map(|()| record));
                match done {
                    Ok(record) => {
                        if !tell(&record) {
                            stop.store(true, Ordering::Relaxed);
                        }
                        records.lock().unwrap_or_else(PoisonError::into_inner).push(record);
                    }
                    Err(error) => hold(&failure, error),
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..workers {
                match rayon::ThreadPoolBuilder::new().num_threads((threads / workers).max(1)).build() {
                    Ok(pool) => drop(scope.spawn(move || pool.install(one_after_another))),
                    Err(error) => hold(&failure, Error::Threads { why: error.to_string() }),
                }
            }
        });
        match failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some(error) => Err(error),
            None => Ok(records.into_inner().unwrap_or_else(PoisonError::into_inner)),
        }
    }

    fn align(&self, photo: &Photo, mtcnn: &Mtcnn) -> Result<Record> {
        let outcome = match self.read(photo) {
            Ok(photograph) => self.find(photo, &photograph, mtcnn)?,
            Err(reason) => Outcome::Unreadable { reason },
        };
        Ok(Record { path: photo.path.clone(), bytes: photo.bytes, modified: photo.modified, outcome })
    }

    fn read(&self, photo: &Photo) -> Result<Photograph, String> {
        let bytes = read_folder(&photo.place, LARGEST_PHOTOGRAPH).map_err(|error| command::error::reason(&error))?;
        let photograph = bytes.and_then(|bytes| Photograph::decode(&bytes, self.options.max_pixels));
        photograph.map_err(|flaw| flaw.to_string())
    }

    fn find(&self, photo: &Photo, photograph: &Photograph, mtcnn: &Mtcnn) -> Result<Outcome> {
        let faces = mtcnn.detect(photograph.raster(), &self.options.detector)?;
        let Some(choice) = choose(&faces, [photograph.width(), photograph.height()], &self.options) else {
            return Ok(Outcome::NoFace { faces });
        };
        let (image, outside) = warp(photograph, &choice.to_aligned, self.options.channels);
        let out = self.target(&photo.path);
        self.write(&out, &image)?;
        Ok(Outcome::Aligned(AlignedFace {
            out,
            taken: choice.taken,
            good: choice.good,
            scale: choice.to_aligned.scale(),
            degrees: choice.to_aligned.degrees(),
            outside,
            faces,
        }))
    }

    fn write(&self, out: &str, image: &Image) -> Result<()> {
        let folder = self.output.join(parent(out));
        fs::create_dir_all(&folder).map_err(Error::write(&folder))?;
        let bytes = match self.options.encoding {
            Encoding::Png => image.to_png(),
            Encoding::Jpeg(quality) => image.to_jpeg(quality),
        };
        Ok(write_atomically(self.output.join(out), |file| file.write_all(&bytes))?)
    }
}
