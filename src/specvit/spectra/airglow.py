"""The bright lines of the night sky between 7240 and 8960 Å, OH and a band of O2: what sky subtraction leaves over.

Wavelengths only: how bright a line is changes within minutes.
"""

from __future__ import annotations

#: Å in vacuum. Up to 8850 Å the maxima of at least 2 e/s/arcsec² among the sky lines of the PFS exposure time
#: calculator, which the preset pfs_mr holds; beyond, and within 0.5 Å also those of the former, the OH lines of
#: Osterbrock, Fulbright, Martel et al. 1996, PASP 108, 277 (Keck/HIRES).
NIGHT_SKY_LINES = (
    *(7242.5, 7247.2, 7278.8, 7318.5, 7343.3, 7371.5, 7404.0, 7526.2, 7574.0, 7714.6, 7719.3, 7753.0),
    *(7762.4, 7796.6, 7810.7, 7824.0, 7843.6, 7855.6, 7863.3, 7873.1, 7916.3, 7923.5, 7933.8, 7951.7),
    *(7967.1, 7982.0, 7995.7, 8028.2, 8064.5, 8284.1, 8290.9, 8301.2, 8313.2, 8346.9, 8355.5, 8384.9),
    *(8401.6, 8417.8, 8432.8, 8455.0, 8467.8, 8496.0, 8507.6, 8541.3, 8658.4, 8663.1, 8668.2, 8673.3),
    *(8761.3, 8763.9, 8770.3, 8778.9, 8781.0, 8793.8, 8829.7, 8839.1, 8888.3, 8905.6, 8922.1, 8945.9),
    8960.5,
)
