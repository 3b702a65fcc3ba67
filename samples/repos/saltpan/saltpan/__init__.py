from saltpan._pan import salinity

__all__ = ["salinity"]
