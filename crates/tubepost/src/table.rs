//! A table of keys and values on top of a region: every reader has a whole version of it.
//!
//! The region's bytes are a head and slots, more by a third or so than entries may be. A key's slot is the first one free, or its own, from where its
//! hash says on. Who removes an entry moves those behind it up, so that there are no marks of what was.
//!
//! ```text
//! head    0: entries there may be   8: entries there are
//! slot    0: 0, or the version of the region in which the entry was last written   8: hash   then the key, the value
//! ```

use crate::domain::Domain;
use crate::error::Error;
use crate::format::Format;
use crate::memory::plain::{Plain, bytes_of, value_in};
use crate::region::{Reading, Region, RegionOptions, Writing};
use std::marker::PhantomData;
use std::time::Duration;

/// Bytes before the first slot.
const HEAD: usize = 64;
const NUMBER_AT: usize = 8;
const HASH_AT: usize = 8;
const KEY_AT: usize = 16;
/// As many entries as there may be.
const MOST: u64 = 1 << 32;

/// Keys and values that several processes read and write, each key with a version of its own.
///
/// Keys and values are plain data. There is room for a fixed number of entries; keys come and go at any time. Reading waits for nobody; writers take turns, as with
/// any [`Region`], and change one entry ([`insert`](Self::insert), [`update`](Self::update)) or several at once ([`write`](Self::write)).
///
/// ```
/// # let dir = format!("/dev/shm/tubepost-doc-table-{}", std::process::id());
/// # let domain = tubepost::Domain::open(&dir)?;
/// use tubepost::Table;
///
/// let prices = Table::<[u8; 8], u64>::options().domain(&domain).capacity(1000).create("prices")?;
/// prices.insert(b"TUBE\0\0\0\0", &4200)?;
///
/// // In any other process of the same user:
/// let theirs = Table::<[u8; 8], u64>::options().domain(&domain).open("prices")?;
/// assert_eq!(theirs.get(b"TUBE\0\0\0\0")?, Some(4200));
/// theirs.update(b"TUBE\0\0\0\0", |price| *price += 1)?;
///
/// assert_eq!(prices.get(b"TUBE\0\0\0\0")?, Some(4201));
/// # drop((prices, theirs));
/// # domain.remove("prices")?;
/// # std::fs::remove_dir(&dir).unwrap();
/// # Ok::<(), tubepost::Error>(())
/// ```
#[derive(Debug)]
pub struct Table<K: Plain, V: Plain> {
    region: Region<[u8]>,
    layout: Layout<K, V>,
}

impl<K: Plain, V: Plain> Clone for Table<K, V> {
    fn clone(&self) -> Self {
        Table { region: self.region.clone(), layout: self.layout }
    }
}

/// The choices to make before a table exists, or is opened.
///
/// ```
/// let options = tubepost::Table::<u32, [f32; 4]>::options().capacity(64).mode(0o640);
/// ```
#[derive(Debug)]
#[must_use]
pub struct TableOptions<K: Plain, V: Plain> {
    region: RegionOptions<[u8]>,
    capacity: Option<u64>,
    _of: PhantomData<fn(K) -> V>,
}

/// An entry of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableEntry<K, V> {
    /// Its key.
    pub key: K,
    /// Its value.
    pub value: V,
    /// The version of the table in which it was last written.
    pub version: u64,
}

impl<K: Plain, V: Plain> TableOptions<K, V> {
    /// Where the name lives; by default in [`Domain::open_default`].
    pub fn domain(mut self, domain: &Domain) -> Self {
        self.region = self.region.domain(domain);
        self
    }

    /// What this process is called in errors and listings.
    pub fn member(mut self, name: impl Into<String>) -> Self {
        self.region = self.region.member(name);
        self
    }

    /// How many entries there may be.
    pub fn capacity(mut self, entries: u64) -> Self {
        self.capacity = Some(entries);
        self
    }

    /// As [`RegionOptions::lease_max`].
    pub fn lease_max(mut self, longest: Duration) -> Self {
        self.region = self.region.lease_max(longest);
        self
    }

    /// As [`RegionOptions::mode`].
    pub fn mode(mut self, mode: u32) -> Self {
        self.region = self.region.mode(mode);
        self
    }

    /// As [`RegionOptions::group`].
    pub fn group(mut self, group: u32) -> Self {
        self.region = self.region.group(group);
        self
    }

    /// Makes a table that stays until it is removed.
    ///
    /// # Errors
    ///
    /// As for [`RegionOptions::create`].
    pub fn create(self, name: &str) -> Result<Table<K, V>, Error> {
        self.make(|options| options.create(name))
    }

    /// The same, for as long as this process has it.
    ///
    /// # Errors
    ///
    /// As for [`RegionOptions::create`].
    pub fn own(self, name: &str) -> Result<Table<K, V>, Error> {
        self.make(|options| options.own(name))
    }

    /// Opens one that exists, to read and to write.
    ///
    /// # Errors
    ///
    /// As for [`RegionOptions::open`].
    pub fn open(self, name: &str) -> Result<Table<K, V>, Error> {
        Table::of(self.region.open(name)?, name)
    }

    /// Opens one that exists, to read only.
    ///
    /// # Errors
    ///
    /// As for [`RegionOptions::open`].
    pub fn open_to_read(self, name: &str) -> Result<Table<K, V>, Error> {
        Table::of(self.region.open_to_read(name)?, name)
    }

    fn make(
        self,
        make: impl FnOnce(RegionOptions<[u8]>) -> Result<Region<[u8]>, Error>,
    ) -> Result<Table<K, V>, Error> {
        let impossible = |given: String| Error::BadOption {
            what: "the capacity of a table",
            given,
            allowed: format!("1 to {MOST} entries"),
        };
        let capacity = self.capacity.ok_or_else(|| impossible("left out".into()))?;
        if !(1..=MOST).contains(&capacity) {
            return Err(impossible(capacity.to_string()));
        }
        let layout = Layout::<K, V>::new(capacity);
        let region = self.region.size(layout.bytes() as u64).beginning_with(&capacity.to_ne_bytes());
        let region = make(region)?;
        Ok(Table { region, layout })
    }
}

impl<K: Plain, V: Plain> Table<K, V> {
    /// The choices to make; each has a default, but for the capacity of one that is made.
    pub fn options() -> TableOptions<K, V> {
        let format = Format::keyed(Format::plain::<K>(), Format::plain::<V>());
        TableOptions { region: Region::options().formatted(format), capacity: None, _of: PhantomData }
    }

    fn of(region: Region<[u8]>, name: &str) -> Result<Table<K, V>, Error> {
        let capacity = word(&region.read()?, 0);
        let layout = Layout::new(capacity.clamp(1, MOST));
        if layout.bytes() != region.len() {
            let what = format!("it has {} bytes, which is no table of {capacity} entries", region.len());
            return Err(Error::Damaged { name: name.into(), what });
        }
        Ok(Table { region, layout })
    }

    /// The value of a key.
    ///
    /// # Errors
    ///
    /// As for [`Region::read`].
    pub fn get(&self, key: &K) -> Result<Option<V>, Error> {
        Ok(self.get_versioned(key)?.map(|(value, _)| value))
    }

    /// The same, with the version of the table in which it was written.
    ///
    /// # Errors
    ///
    /// As for [`Region::read`].
    pub fn get_versioned(&self, key: &K) -> Result<Option<(V, u64)>, Error> {
        let data = self.region.read()?;
        Ok(self
            .layout
            .find(&data, key)
            .ok()
            .map(|at| self.layout.entry(&data, at))
            .map(|e| (e.value, e.version)))
    }

    /// Gives a key this value, and gives the number of the table's new version.
    ///
    /// # Errors
    ///
    /// [`Error::TableFull`]; else as for [`Region::write`] and [`Writing::commit`].
    pub fn insert(&self, key: &K, value: &V) -> Result<u64, Error> {
        let mut writing = self.write()?;
        writing.insert(key, value)?;
        writing.commit()
    }

    /// The same, if the key's version is this one; nothing: if there is no such key.
    ///
    /// # Errors
    ///
    /// [`Error::Changed`] if it has another one (0: none); else as for [`insert`](Self::insert).
    pub fn insert_if(&self, key: &K, value: &V, version: Option<u64>) -> Result<u64, Error> {
        let mut writing = self.write()?;
        let found = writing.get(key).map_or(0, |(_, version)| version);
        let expected = version.unwrap_or(0);
        if found != expected {
            return Err(Error::Changed { name: self.region.name(), expected, found });
        }
        writing.insert(key, value)?;
        writing.commit()
    }

    /// Changes the value of a key; nothing if there is no such key.
    ///
    /// # Errors
    ///
    /// As for [`Region::write`] and [`Writing::commit`].
    pub fn update(&self, key: &K, change: impl FnOnce(&mut V)) -> Result<Option<u64>, Error> {
        let mut writing = self.write()?;
        let Some((mut value, _)) = writing.get(key) else { return Ok(None) };
        change(&mut value);
        writing.insert(key, &value)?;
        writing.commit().map(Some)
    }

    /// Removes a key. Whether it was there.
    ///
    /// # Errors
    ///
    /// As for [`Region::write`] and [`Writing::commit`].
    pub fn remove(&self, key: &K) -> Result<bool, Error> {
        let mut writing = self.write()?;
        if !writing.remove(key) {
            return Ok(false);
        }
        writing.commit().map(|_| true)
    }

    /// One version of the whole table.
    ///
    /// # Errors
    ///
    /// As for [`Region::read`].
    ///
    /// ```
    /// # let dir = format!("/dev/shm/tubepost-doc-table-read-{}", std::process::id());
    /// # let domain = tubepost::Domain::open(&dir)?;
    /// let table = tubepost::Table::<u32, u32>::options().domain(&domain).capacity(8).own("squares")?;
    /// let mut writing = table.write()?;
    /// for n in 1..=3 {
    ///     writing.insert(&n, &(n * n))?;
    /// }
    /// writing.commit()?;
    ///
    /// let now = table.read()?;
    /// assert_eq!(now.len(), 3);
    /// assert_eq!(now.iter().map(|entry| entry.value).sum::<u32>(), 14);
    /// # drop(now);
    /// # drop(table);
    /// # std::fs::remove_dir(&dir).unwrap();
    /// # Ok::<(), tubepost::Error>(())
    /// ```
    pub fn read(&self) -> Result<TableReading<'_, K, V>, Error> {
        Ok(TableReading { data: self.region.read()?, layout: self.layout })
    }

    /// Becomes the one writer, to change several entries at once.
    ///
    /// # Errors
    ///
    /// As for [`Region::write`].
    pub fn write(&self) -> Result<TableWriting<'_, K, V>, Error> {
        Ok(TableWriting { name: &self.region, data: self.region.write()?, layout: self.layout })
    }

    /// The number of the newest version of the table.
    ///
    /// # Errors
    ///
    /// As for [`Region::version`].
    pub fn version(&self) -> Result<u64, Error> {
        self.region.version()
    }

    /// Waits until there is a version after this one, and gives the newest one's number.
    ///
    /// # Errors
    ///
    /// As for [`Region::wait_for_change`].
    pub fn wait_for_change(&self, since: u64) -> Result<u64, Error> {
        self.region.wait_for_change(since)
    }

    /// How many entries there may be.
    pub fn capacity(&self) -> u64 {
        self.layout.capacity
    }

    /// The region that it is in.
    pub fn region(&self) -> &Region<[u8]> {
        &self.region
    }
}

/// One version of a table, which stays as it is until this is dropped.
#[derive(Debug)]
#[must_use]
pub struct TableReading<'a, K: Plain, V: Plain> {
    data: Reading<'a, [u8]>,
    layout: Layout<K, V>,
}

impl<K: Plain, V: Plain> TableReading<'_, K, V> {
    /// Its number.
    pub fn version(&self) -> u64 {
        self.data.version()
    }

    /// The value of a key.
    pub fn get(&self, key: &K) -> Option<V> {
        self.layout.find(&self.data, key).ok().map(|at| self.layout.entry(&self.data, at).value)
    }

    /// All entries, in no order.
    pub fn iter(&self) -> impl Iterator<Item = TableEntry<K, V>> {
        let used = |at: &usize| word(&self.data, self.layout.slot(*at)) != 0;
        (0..self.layout.slots).filter(used).map(|at| self.layout.entry(&self.data, at))
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        word(&self.data, NUMBER_AT) as usize
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The next version of a table, which nobody sees before it is committed.
#[derive(Debug)]
#[must_use]
pub struct TableWriting<'a, K: Plain, V: Plain> {
    name: &'a Region<[u8]>,
    data: Writing<'a, [u8]>,
    layout: Layout<K, V>,
}

impl<K: Plain, V: Plain> TableWriting<'_, K, V> {
    /// The value of a key, and its version.
    pub fn get(&self, key: &K) -> Option<(V, u64)> {
        let at = self.layout.find(&self.data, key).ok()?;
        let entry = self.layout.entry(&self.data, at);
        Some((entry.value, entry.version))
    }

    /// Gives a key this value.
    ///
    /// # Errors
    ///
    /// [`Error::TableFull`].
    pub fn insert(&mut self, key: &K, value: &V) -> Result<(), Error> {
        let layout = self.layout;
        let number = word(&self.data, NUMBER_AT);
        let at = match layout.find(&self.data, key) {
            Ok(at) => at,
            Err(_) if number >= layout.capacity => {
                return Err(Error::TableFull { name: self.name.name(), capacity: layout.capacity });
            }
            Err(at) => {
                self.data.range_mut(NUMBER_AT..NUMBER_AT + 8).copy_from_slice(&(number + 1).to_ne_bytes());
                at
            }
        };
        let version = self.data.version().wrapping_add(1);
        let slot = layout.slot(at);
        let bytes = self.data.range_mut(slot..slot + layout.stride);
        bytes[..8].copy_from_slice(&version.to_ne_bytes());
        bytes[HASH_AT..HASH_AT + 8].copy_from_slice(&hash(bytes_of(key)).to_ne_bytes());
        bytes[layout.key_at..layout.key_at + size_of::<K>()].copy_from_slice(bytes_of(key));
        bytes[layout.value_at..layout.value_at + size_of::<V>()].copy_from_slice(bytes_of(value));
        Ok(())
    }

    /// Removes a key. Whether it was there.
    pub fn remove(&mut self, key: &K) -> bool {
        let layout = self.layout;
        let Ok(mut hole) = layout.find(&self.data, key) else { return false };
        let mut at = hole;
        for _ in 1..layout.slots {
            at = (at + 1) & (layout.slots - 1);
            let slot = layout.slot(at);
            if word(&self.data, slot) == 0 {
                break;
            }
            // It stays where it is if the way from where its hash says does not lead over the hole.
            let home = layout.home(word(&self.data, slot + HASH_AT));
            let (way, gap) = (at.wrapping_sub(home), at.wrapping_sub(hole));
            if way & (layout.slots - 1) < gap & (layout.slots - 1) {
                continue;
            }
            let moved = self.data[slot..slot + layout.stride].to_vec();
            let to = layout.slot(hole);
            self.data.range_mut(to..to + layout.stride).copy_from_slice(&moved);
            hole = at;
        }
        let slot = layout.slot(hole);
        self.data.range_mut(slot..slot + 8).fill(0);
        let number = word(&self.data, NUMBER_AT).saturating_sub(1);
        self.data.range_mut(NUMBER_AT..NUMBER_AT + 8).copy_from_slice(&number.to_ne_bytes());
        true
    }

    /// Makes it the newest version, and gives its number.
    ///
    /// # Errors
    ///
    /// As for [`Writing::commit`].
    pub fn commit(self) -> Result<u64, Error> {
        self.data.commit()
    }
}

/// Where what is.
#[derive(Debug)]
struct Layout<K, V> {
    capacity: u64,
    /// A power of two.
    slots: usize,
    key_at: usize,
    value_at: usize,
    stride: usize,
    _of: PhantomData<fn(K) -> V>,
}

impl<K, V> Clone for Layout<K, V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K, V> Copy for Layout<K, V> {}

impl<K: Plain, V: Plain> Layout<K, V> {
    fn new(capacity: u64) -> Layout<K, V> {
        let key_at = KEY_AT.next_multiple_of(align_of::<K>());
        let value_at = (key_at + size_of::<K>()).next_multiple_of(align_of::<V>());
        let align = align_of::<K>().max(align_of::<V>()).max(8);
        Layout {
            capacity,
            slots: (capacity + capacity / 3 + 1).next_power_of_two() as usize,
            key_at,
            value_at,
            stride: (value_at + size_of::<V>()).next_multiple_of(align),
            _of: PhantomData,
        }
    }

    fn bytes(&self) -> usize {
        self.slots.saturating_mul(self.stride).saturating_add(HEAD)
    }

    fn slot(&self, at: usize) -> usize {
        HEAD + at * self.stride
    }

    /// Where a key is first looked for.
    fn home(&self, hash: u64) -> usize {
        hash as usize & (self.slots - 1)
    }

    /// The key's slot; or the one that it would have.
    fn find(&self, data: &[u8], key: &K) -> Result<usize, usize> {
        let (key, hash) = (bytes_of(key), hash(bytes_of(key)));
        let mut at = self.home(hash);
        for _ in 0..self.slots {
            let slot = self.slot(at);
            if word(data, slot) == 0 {
                break;
            }
            let there = &data[slot + self.key_at..slot + self.key_at + size_of::<K>()];
            if word(data, slot + HASH_AT) == hash && there == key {
                return Ok(at);
            }
            at = (at + 1) & (self.slots - 1);
        }
        Err(at)
    }

    fn entry(&self, data: &[u8], at: usize) -> TableEntry<K, V> {
        let slot = self.slot(at);
        let value = |at: usize, length: usize| &data[slot + at..slot + at + length];
        // Aligned, for a region's data is, and so are slots.
        TableEntry {
            key: *value_in(value(self.key_at, size_of::<K>())).expect("a key's bytes, aligned"),
            value: *value_in(value(self.value_at, size_of::<V>())).expect("a value's bytes, aligned"),
            version: word(data, slot),
        }
    }
}

fn word(data: &[u8], at: usize) -> u64 {
    data.get(at..at + 8).map_or(0, |bytes| u64::from_ne_bytes(bytes.try_into().expect("eight bytes")))
}

/// FNV-1a, mixed once more: it has to be the same in every program.
fn hash(bytes: &[u8]) -> u64 {
    let fold = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01B3);
    let hash = bytes.iter().fold(0xCBF2_9CE4_8422_2325, fold);
    let hash = (hash ^ hash >> 32).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    hash ^ hash >> 29
}
