"""One dark theme, in which gray values of a CT are judged as on a reading station."""

COLORS = {
    "background": "#0b1115",
    "surface": "#141d23",
    "surface-variant": "#26333b",
    "surface-bright": "#9fb3bf",
    "primary": "#4db6ac",
    "secondary": "#9fb3bf",
    "error": "#ef6f6c",
    "warning": "#f2b84b",
    "success": "#7cc38a",
}
VUETIFY = {
    "theme": {"defaultTheme": "workbench", "themes": {"workbench": {"dark": True, "colors": COLORS}}},
    "defaults": {
        "VBtn": {"variant": "text", "density": "comfortable", "style": "text-transform: none; letter-spacing: 0;"},
        "VTextField": {"density": "compact", "variant": "outlined", "hideDetails": True},
        "VTextarea": {"density": "compact", "variant": "outlined", "hideDetails": True},
        "VSelect": {"density": "compact", "variant": "outlined", "hideDetails": True},
        "VSwitch": {"density": "compact", "color": "primary", "hideDetails": True},
        "VSlider": {"density": "compact", "color": "primary", "hideDetails": True, "thumbSize": 14},
        "VRangeSlider": {"density": "compact", "color": "primary", "hideDetails": True, "thumbSize": 14},
    },
}
