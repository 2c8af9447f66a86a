//! A disk that is looked at and takes nothing: recovery over it tells what a start would find.
//!
//! Always: what would change something succeeds and does nothing.

use millstream_storage::disk::{BlockingDisk, DirEntry};
use std::io;
use std::path::Path;

pub(super) struct LookOnly<'a>(pub(super) &'a dyn BlockingDisk);

impl BlockingDisk for LookOnly<'_> {
    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        self.0.list(path)
    }

    fn length(&self, path: &Path) -> io::Result<Option<u64>> {
        self.0.length(path)
    }

    fn read(&self, path: &Path, position: u64, into: &mut [u8]) -> io::Result<usize> {
        self.0.read(path, position, into)
    }

    fn write(&self, _: &Path, _: u64, _: &[u8]) -> io::Result<()> {
        Ok(())
    }

    fn set_length(&self, _: &Path, _: u64) -> io::Result<()> {
        Ok(())
    }

    fn sync_data(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn sync_fs(&self) -> io::Result<()> {
        Ok(())
    }

    fn make_dirs(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn rename(&self, _: &Path, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn exchange(&self, _: &Path, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn unlink(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn remove_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }
}
