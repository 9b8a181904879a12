"""Small files of the forms that `specvit.observed` reads, written from one spectrum with astropy alone."""

import csv
import gzip

import numpy as np
from astropy.io import fits
from astropy.table import Table

from specvit.spectra import vacuum_to_air


class Star:
    """What the file is made of: vacuum wavelengths in Å, flux per wavelength, sigma."""

    def __init__(self, start=7000.0, stop=8900.0, step=1.0, seed=0, flux=None):
        self.wavelength = np.arange(start, stop, step)
        rng = np.random.default_rng(seed)
        line = np.exp(-0.5 * ((self.wavelength - 8544.4) / 3.0) ** 2)
        clean = 100 * (1 - 0.6 * line) * (self.wavelength / 8000) ** -1.5 if flux is None else flux
        self.sigma = np.full(self.wavelength.size, 0.01 * np.median(clean))
        self.flux = clean + self.sigma * rng.standard_normal(clean.size)
        self.dead = 17

    @property
    def ivar(self):
        ivar = self.sigma**-2.0
        ivar[self.dead] = 0
        return ivar


def log_star(**options):
    """A star on SDSS's logarithmic pixels."""
    star = Star(**options)
    size = int(np.log10(8900 / 7000) / 1e-4)
    grid = 10 ** (np.log10(7000.0) + 1e-4 * np.arange(size))
    for key in ("flux", "sigma"):
        setattr(star, key, np.interp(grid, star.wavelength, getattr(star, key)))
    star.wavelength = grid
    return star


def table_hdu(columns, name="", units=None):
    units = units or {}
    made = []
    for key, values in columns.items():
        values = np.asarray(values)
        kind = {"f": "D", "i": "K", "b": "L"}[values.dtype.kind]
        if values.ndim == 2:
            kind = f"{values.shape[1]}{kind}"
        made.append(fits.Column(key, kind, array=values, unit=units.get(key)))
    return fits.BinTableHDU.from_columns(made, name=name)


def write(path, *hdus, **cards):
    primary = hdus[0] if isinstance(hdus[0], fits.PrimaryHDU) else fits.PrimaryHDU()
    for key, value in cards.items():
        word = "DC-FLAG" if key == "DC_FLAG" else key
        primary.header[word if len(word) <= 8 else f"HIERARCH {word}"] = value
    rest = hdus[1:] if primary is hdus[0] else hdus
    fits.HDUList([primary, *rest]).writeto(path, overwrite=True)
    return path


def sdss(path, star):
    pixels = star.wavelength.size
    columns = {
        "flux": star.flux,
        "loglam": np.log10(star.wavelength),
        "ivar": star.ivar,
        "and_mask": np.zeros(pixels, int),
        "wdisp": np.full(pixels, 1.1),
    }
    return write(path, table_hdu(columns, "COADD"), PLATEID=266, MJD=51602, FIBERID=31, HELIO_RV=12.5)


def sdss_v(path, star):
    columns = {
        "FLUX": star.flux,
        "LOGLAM": np.log10(star.wavelength),
        "IVAR": star.ivar,
        "WRESL": 0 * star.flux + 1.5,
    }
    return write(path, table_hdu(columns, "COADD"), CATALOGID=4375, MJD=59600, FIELD=100)


def lamost_image(path, star):
    rows = np.array([star.flux, star.ivar, star.flux, 0 * star.flux, 0 * star.flux])
    first = np.log10(star.wavelength[0])
    cards = {"COEFF0": first, "COEFF1": 1e-4, "HELIO_RV": -20.0, "DESIG": "LAMOST J063821.88+280431.4"}
    return write(path, fits.PrimaryHDU(rows), TELESCOP="LAMOST", VACUUM=True, **cards)


def lamost_table(path, star):
    columns = {"FLUX": star.flux[None], "IVAR": star.ivar[None], "WAVELENGTH": star.wavelength[None]}
    columns["ANDMASK"] = np.zeros((1, star.flux.size))
    return write(path, table_hdu(columns, "COADD"), TELESCOP="LAMOST", DESIG="LAMOST J000000.00+000000.0")


def desi(path, star, targets=3, dead=()):
    hdus = [table_hdu({"TARGETID": np.arange(100, 100 + targets)}, "FIBERMAP")]
    cuts = {"R": star.wavelength < 7700, "Z": star.wavelength > 7600}
    for arm, keep in cuts.items():
        kernel = np.exp(-0.5 * (np.arange(-5, 6) / 1.2) ** 2)
        flux, ivar = np.tile(star.flux[keep], (targets, 1)), np.tile(star.ivar[keep], (targets, 1))
        ivar[list(dead)] = 0
        resolution = np.tile((kernel / kernel.sum())[None, :, None], (targets, 1, keep.sum()))
        arrays = {"WAVELENGTH": star.wavelength[keep], "FLUX": flux, "IVAR": ivar, "RESOLUTION": resolution}
        hdus += [fits.ImageHDU(values, name=f"{arm}_{key}") for key, values in arrays.items()]
        hdus.append(fits.ImageHDU(np.zeros(flux.shape, np.int32), name=f"{arm}_MASK"))
    return write(path, *hdus)


def desi_cframe(path, star):
    kernel = np.exp(-0.5 * (np.arange(-5, 6) / 1.2) ** 2)
    resolution = np.tile((kernel / kernel.sum())[None, :, None], (2, 1, star.flux.size))
    arrays = {
        "FLUX": np.tile(star.flux, (2, 1)),
        "IVAR": np.tile(star.ivar, (2, 1)),
        "WAVELENGTH": star.wavelength,
    }
    hdus = [fits.ImageHDU(values, name=key) for key, values in (arrays | {"RESOLUTION": resolution}).items()]
    return write(path, *hdus, table_hdu({"TARGETID": np.array([7, 8])}, "FIBERMAP"))


def pfs(path, star, table="FLUX_TABLE"):
    per_frequency = star.wavelength**2 / 1e6
    mask = np.zeros(star.flux.size, int)
    mask[star.dead] = 1 << 3
    columns = {"wavelength": star.wavelength / 10, "flux": star.flux * per_frequency}
    columns |= {"error": star.sigma * per_frequency, "mask": mask}
    hdu = table_hdu(columns, table)
    hdu.header["MP_CR"] = 3
    return write(path, hdu, CATID=10, TRACT=1, PATCH="0,0", OBJID=42)


def pfs_image(path, star):
    per_frequency = star.wavelength**2 / 1e6
    mask = np.zeros(star.flux.size, np.int32)
    mask[star.dead] = 1
    covariance = np.zeros((3, star.flux.size))
    covariance[0] = (star.sigma * per_frequency) ** 2
    arrays = {
        "WAVELENGTH": star.wavelength / 10,
        "FLUX": star.flux * per_frequency,
        "MASK": mask,
        "COVAR": covariance,
    }
    return write(path, *(fits.ImageHDU(values, name=key) for key, values in arrays.items()), OBJID=42)


def gaia_csv(path, star, sources=(4268620287278693120,)):
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["source_id", "wavelength", "flux", "flux_error"])
        for source in sources:
            writer.writerows(
                [source, w / 10, f, e] for w, f, e in zip(star.wavelength, star.flux, star.sigma, strict=True)
            )
    return path


def gaia_votable(path, star):
    names = ["source_id", "wavelength", "flux", "flux_error"]
    identity = np.full(star.flux.size, 4268620287278693120)
    Table([identity, star.wavelength / 10, star.flux, star.sigma], names=names).write(path, format="votable")
    return path


def gaia_fits(path, star):
    columns = {"source_id": np.array([11, 12]), "flux": np.tile(star.flux, (2, 1))}
    columns |= {
        "flux_error": np.tile(star.sigma, (2, 1)),
        "wavelength": np.tile(star.wavelength / 10, (2, 1)),
    }
    return write(path, table_hdu(columns))


def phase3(path, star):
    columns = {"WAVE": star.wavelength[None] / 10, "FLUX": star.flux[None], "ERR": star.sigma[None]}
    hdu = table_hdu(columns, "SPECTRUM", {"WAVE": "nm"})
    hdu.header["TUCD1"] = "em.wl"
    return write(path, hdu, SPEC_RES=9861.0, SPECSYS="BARYCENT", OBJECT="HD 1")


def phase3_air(path, star):
    columns = {"WAVE": vacuum_to_air(star.wavelength)[None], "FLUX": star.flux[None], "ERR": star.sigma[None]}
    hdu = table_hdu(columns, "SPECTRUM", {"WAVE": "angstrom"})
    hdu.header["TUCD1"] = "em.wl;obs.atmos"
    return write(path, hdu, SPEC_RES=9861.0, SPECSYS="TOPOCENT", OBJECT="HD 1")


def image(path, star, values, errors=None, **cards):
    hdus = [fits.PrimaryHDU(values)]
    if errors is not None:
        hdus.append(fits.ImageHDU(errors[1], name=errors[0]))
    return write(path, *hdus, OBJECT="HD 2", **cards)


def muse(path, star):
    cards = {
        "CTYPE1": "WAVE",
        "CUNIT1": "Angstrom",
        "CRVAL1": star.wavelength[0],
        "CDELT1": 1.0,
        "CRPIX1": 1.0,
    }
    return image(path, star, star.flux, ("SIGMA", star.sigma), INSTRUME="MUSE", **cards)


def wcs_variance(path, star):
    cards = {
        "CTYPE1": "WAVE",
        "CUNIT1": "nm",
        "CRVAL1": star.wavelength[10] / 10,
        "CD1_1": 0.1,
        "CRPIX1": 11.0,
    }
    return image(path, star, star.flux, ("STAT", star.sigma**2), **cards)


def wcs_log(path, star):
    cards = {
        "CRVAL1": np.log10(star.wavelength[0]),
        "CD1_1": 1e-4,
        "CRPIX1": 1.0,
        "DC_FLAG": 1,
        "VACUUM": True,
    }
    return image(path, star, star.flux, ("IVAR", star.ivar), **cards)


def wcs_natural_log(path, star):
    """FITS paper III: CTYPE ends in -LOG, λ = λ_r exp(Δ (p - p_r) / λ_r)."""
    first = star.wavelength[0]
    cards = {"CTYPE1": "WAVE-LOG", "CUNIT1": "Angstrom", "CRVAL1": first, "CRPIX1": 1.0}
    return image(path, star, star.flux, ("ERROR", star.sigma), CDELT1=first * 1e-4 * np.log(10.0), **cards)


def multispec(path, star):
    """Two overlapping orders, the first Legendre, the second linear, each under a blaze."""
    cuts = [star.wavelength < 8000, star.wavelength > 7900]
    size = min(cut.sum() for cut in cuts)
    orders, words = [], ["wtype=multispec"]
    for k, cut in enumerate(cuts):
        wavelength, flux = star.wavelength[cut][:size], star.flux[cut][:size]
        orders.append(flux * (1 - 0.5 * np.linspace(-1, 1, size) ** 2))
        first, step = wavelength[0], wavelength[1] - wavelength[0]
        head = f"{k + 1} {90 - k} {0 if k else 2} {first:.10f} {step:.10f} {size} 0. 0. 0."
        half, middle = 0.5 * (wavelength[-1] - wavelength[0]), 0.5 * (wavelength[-1] + wavelength[0])
        tail = "" if k else f" 1. 0. 2 2 1 {size} {middle:.10f} {half:.10f}"
        words.append(f'spec{k + 1} = "{head}{tail}"')
    text = " ".join(words)
    cards = {f"WAT2_{k + 1:03d}": text[68 * k : 68 * (k + 1)] for k in range(len(text) // 68 + 1)}
    hdu = fits.PrimaryHDU(np.array(orders))
    return write(
        path, hdu, WAT0_001="system=multispec", CTYPE1="MULTISPE", VACUUM=True, OBJECT="HD 3", **cards
    )


def galah(path, star):
    air = vacuum_to_air(star.wavelength)
    grid = air[0] + (air[-1] - air[0]) / (air.size - 1) * np.arange(air.size)
    relative = star.sigma / star.flux
    hdus = [fits.PrimaryHDU(np.interp(grid, air, star.flux)), fits.ImageHDU(relative, name="relative_error")]
    hdus.append(fits.ImageHDU(np.full(air.size, 2.2), name="resolution_profile"))
    return write(path, *hdus, CRVAL1=grid[0], CDELT1=grid[1] - grid[0], CRPIX1=1.0, OBJECT="HD 4")


def ascii_three(path, star):
    np.savetxt(path, np.c_[star.wavelength, star.flux, star.sigma], header="a comment of any length here")
    return path


def ascii_two(path, star):
    np.savetxt(path, np.c_[star.wavelength, star.flux])
    return path


def csv_named(path, star):
    rows = zip(star.wavelength / 10, star.flux, star.ivar, strict=True)
    path.write_text("wave_vac,flux,ivar\n" + "".join(f"{a:.6f},{b:.8g},{c:.8g}\n" for a, b, c in rows))
    return path


def ecsv(path, star):
    table = Table([star.wavelength / 1e4, star.flux, star.sigma], names=["wavelength", "flux", "err"])
    table["wavelength"].unit = "um"
    table.write(path, format="ascii.ecsv")
    return path


def gzipped(path, star):
    inner = sdss(path.with_suffix(".plain"), star)
    path.write_bytes(gzip.compress(inner.read_bytes()))
    return path
