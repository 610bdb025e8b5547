//! SQLite's door to the disk, as its default in this process: each call asks the [`Disk`] of its
//! directory first and then goes on to the real file system. Flushes end here.
//!
//! The one file of the harness with `unsafe`: SQLite's interface is C, and this is the place where a
//! flush, its failure and a loss of power can be made without a seam in the product.
#![allow(unsafe_code, reason = "SQLite's file system interface is a table of C functions")]
use std::collections::BTreeMap;
use std::ffi::{CStr, OsStr, c_char, c_int, c_void};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use rusqlite::ffi;

use super::{Disk, Failure};

static DISKS: Mutex<BTreeMap<PathBuf, Weak<Disk>>> = Mutex::new(BTreeMap::new());

pub fn mount(directory: &Path, disk: &Arc<Disk>) {
    install();
    let mut disks = DISKS.lock().unwrap_or_else(PoisonError::into_inner);
    disks.retain(|_, disk| disk.strong_count() > 0);
    disks.insert(directory.to_owned(), Arc::downgrade(disk));
}

fn disk_of(path: &Path) -> Option<Arc<Disk>> {
    DISKS.lock().unwrap_or_else(PoisonError::into_inner).get(path.parent()?)?.upgrade()
}

/// The real file system, which lives as long as the process.
struct Real(*mut ffi::sqlite3_vfs);

// SAFETY: SQLite's own table of the operating system is written once, before it is published, and
// may be called from any thread.
unsafe impl Send for Real {}
// SAFETY: as above.
unsafe impl Sync for Real {}

static REAL: OnceLock<Real> = OnceLock::new();

fn install() {
    REAL.get_or_init(|| {
        // SAFETY: a null name asks for the default, which SQLite always has; the copy below is
        // leaked, as a registered table must never move or go away.
        unsafe {
            let real = ffi::sqlite3_vfs_find(std::ptr::null());
            let mut ours = *real;
            ours.szOsFile += HEADER;
            ours.pNext = std::ptr::null_mut();
            ours.zName = c"backstay-sim".as_ptr();
            ours.xOpen = Some(open);
            ours.xDelete = Some(delete);
            let code = ffi::sqlite3_vfs_register(Box::leak(Box::new(ours)), 1);
            assert_eq!(code, ffi::SQLITE_OK, "SQLite takes another file system");
            Real(real)
        }
    });
}

fn real() -> *mut ffi::sqlite3_vfs {
    REAL.get().expect("installed before any file is opened").0
}

/// Our part of an open file; the real file system's part follows it.
#[repr(C)]
struct File {
    base: ffi::sqlite3_file,
    /// Boxed; null for a file of a directory that is not mounted.
    place: *mut Place,
}

struct Place {
    disk: Arc<Disk>,
    path: PathBuf,
}

/// Size of [`File`], which keeps the part behind it aligned for pointers.
const HEADER: c_int = 16;
const _: () = assert!(size_of::<File>() == HEADER as usize);

/// The real file system's part of `file`.
unsafe fn inner(file: *mut ffi::sqlite3_file) -> *mut ffi::sqlite3_file {
    // SAFETY: SQLite allocated `szOsFile` bytes, ours and then the real file system's.
    unsafe { file.cast::<u8>().add(HEADER.unsigned_abs() as usize).cast() }
}

unsafe fn place<'a>(file: *mut ffi::sqlite3_file) -> Option<&'a Place> {
    // SAFETY: every file that reaches our methods was filled in by `open`; the box lives until
    // `close`, and SQLite calls nothing on a closed file.
    unsafe { (*file.cast::<File>()).place.as_ref() }
}

fn code(failure: Failure) -> c_int {
    match failure {
        Failure::Io => ffi::SQLITE_IOERR,
        Failure::Full => ffi::SQLITE_FULL,
    }
}

fn path_of(name: *const c_char) -> Option<PathBuf> {
    if name.is_null() {
        return None;
    }
    // SAFETY: SQLite passes zero-terminated names.
    let name = unsafe { CStr::from_ptr(name) };
    Some(PathBuf::from(OsStr::from_bytes(name.to_bytes())))
}

unsafe extern "C" fn open(
    _: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    out: *mut c_int,
) -> c_int {
    let path = path_of(name);
    let disk = path.as_deref().and_then(disk_of);
    // SAFETY: `file` has room for both parts; no methods means "not open" to SQLite, until the real
    // file system has opened it.
    unsafe {
        (*file).pMethods = std::ptr::null();
        if disk.as_ref().is_some_and(|disk| disk.is_dead()) {
            return ffi::SQLITE_CANTOPEN;
        }
        if let (Some(disk), Some(path)) = (&disk, &path) {
            disk.opened(path);
        }
        let Some(open) = (*real()).xOpen else { return ffi::SQLITE_CANTOPEN };
        let result = open(real(), name, inner(file), flags, out);
        if result != ffi::SQLITE_OK {
            return result;
        }
        let place = disk.zip(path).map(|(disk, path)| Box::into_raw(Box::new(Place { disk, path })));
        (*file.cast::<File>()).place = place.unwrap_or(std::ptr::null_mut());
        (*file).pMethods = &raw const METHODS;
    }
    ffi::SQLITE_OK
}

unsafe extern "C" fn delete(_: *mut ffi::sqlite3_vfs, name: *const c_char, flush: c_int) -> c_int {
    if let Some(path) = path_of(name)
        && let Some(disk) = disk_of(&path)
        && let Err(failure) = disk.delete(&path)
    {
        return code(failure);
    }
    // SAFETY: the arguments are those that SQLite gave.
    unsafe { (*real()).xDelete.map_or(ffi::SQLITE_IOERR, |delete| delete(real(), name, flush)) }
}

/// A method that goes on to the real file, unless the process is dead.
macro_rules! pass {
    ($name:ident, $method:ident, alive: $alive:literal $(, $argument:ident: $kind:ty)*) => {
        unsafe extern "C" fn $name(file: *mut ffi::sqlite3_file $(, $argument: $kind)*) -> c_int {
            // SAFETY: the real file was opened by the real file system, and the arguments are SQLite's.
            unsafe {
                if $alive && place(file).is_some_and(|place| place.disk.is_dead()) {
                    return ffi::SQLITE_IOERR;
                }
                let inner = inner(file);
                (*(*inner).pMethods).$method.map_or(ffi::SQLITE_IOERR, |method| method(inner $(, $argument)*))
            }
        }
    };
}

pass!(read, xRead, alive: true, to: *mut c_void, amount: c_int, offset: i64);
pass!(file_size, xFileSize, alive: true, size: *mut i64);
// Locks and shared memory are the kernel's, and a dead process gives them back.
pass!(lock, xLock, alive: false, level: c_int);
pass!(unlock, xUnlock, alive: false, level: c_int);
pass!(check_lock, xCheckReservedLock, alive: false, out: *mut c_int);
pass!(control, xFileControl, alive: false, op: c_int, argument: *mut c_void);
pass!(sector_size, xSectorSize, alive: false);
pass!(characteristics, xDeviceCharacteristics, alive: false);
pass!(shm_map, xShmMap, alive: false, page: c_int, size: c_int, extend: c_int, out: *mut *mut c_void);
pass!(shm_lock, xShmLock, alive: false, offset: c_int, n: c_int, flags: c_int);
pass!(shm_unmap, xShmUnmap, alive: false, delete: c_int);

unsafe extern "C" fn shm_barrier(file: *mut ffi::sqlite3_file) {
    // SAFETY: as in `pass`.
    unsafe {
        let inner = inner(file);
        if let Some(barrier) = (*(*inner).pMethods).xShmBarrier {
            barrier(inner);
        }
    }
}

unsafe extern "C" fn close(file: *mut ffi::sqlite3_file) -> c_int {
    // SAFETY: as in `pass`; the box is taken back once, as SQLite closes a file once.
    unsafe {
        let ours = file.cast::<File>();
        if !(*ours).place.is_null() {
            drop(Box::from_raw((*ours).place));
            (*ours).place = std::ptr::null_mut();
        }
        let inner = inner(file);
        (*(*inner).pMethods).xClose.map_or(ffi::SQLITE_IOERR, |close| close(inner))
    }
}

unsafe extern "C" fn write(file: *mut ffi::sqlite3_file, from: *const c_void, amount: c_int, offset: i64) -> c_int {
    // SAFETY: as in `pass`; `from` has `amount` bytes.
    unsafe {
        if let Some(place) = place(file) {
            let bytes = std::slice::from_raw_parts(from.cast::<u8>(), usize::try_from(amount).unwrap_or(0));
            if let Err(failure) = place.disk.write(&place.path, offset.unsigned_abs(), bytes) {
                return code(failure);
            }
        }
        let inner = inner(file);
        (*(*inner).pMethods).xWrite.map_or(ffi::SQLITE_IOERR, |write| write(inner, from, amount, offset))
    }
}

unsafe extern "C" fn truncate(file: *mut ffi::sqlite3_file, size: i64) -> c_int {
    // SAFETY: as in `pass`.
    unsafe {
        if let Some(place) = place(file)
            && let Err(failure) = place.disk.truncate(&place.path, size.unsigned_abs())
        {
            return code(failure);
        }
        let inner = inner(file);
        (*(*inner).pMethods).xTruncate.map_or(ffi::SQLITE_IOERR, |truncate| truncate(inner, size))
    }
}

unsafe extern "C" fn sync(file: *mut ffi::sqlite3_file, flags: c_int) -> c_int {
    // SAFETY: as in `pass`.
    unsafe {
        match place(file) {
            Some(place) => place.disk.flush(&place.path).map_or_else(code, |()| ffi::SQLITE_OK),
            None => {
                let inner = inner(file);
                (*(*inner).pMethods).xSync.map_or(ffi::SQLITE_IOERR, |sync| sync(inner, flags))
            }
        }
    }
}

/// Version 2: shared memory, and no memory-mapped reads, which would go past us.
static METHODS: ffi::sqlite3_io_methods = ffi::sqlite3_io_methods {
    iVersion: 2,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(file_size),
    xLock: Some(lock),
    xUnlock: Some(unlock),
    xCheckReservedLock: Some(check_lock),
    xFileControl: Some(control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(characteristics),
    xShmMap: Some(shm_map),
    xShmLock: Some(shm_lock),
    xShmBarrier: Some(shm_barrier),
    xShmUnmap: Some(shm_unmap),
    xFetch: None,
    xUnfetch: None,
};
