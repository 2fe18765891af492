"""How the lab looks, as far as Gradio draws it; everything else is in assets/web/lab.css and site.css."""

import gradio as gr

from lorasae.identity import Access

_HEAD = """
<meta name="lab-access" content="{access}">
<link rel="stylesheet" href="/lab/assets/lab.css">
<link rel="stylesheet" href="/lab/assets/site.css">
<link rel="icon" href="/lab/assets/logo.svg" type="image/svg+xml">
<script type="module" src="/lab/assets/lab.js"></script>
"""

# header.js asks for notices where it finds the last one, and offers to sign in by what the first one says
_NOTICES = '<meta name="lab-notices" content="ask">\n'


def head(access: Access, *, may_have_notices: bool) -> str:
    """What stands in the head of every page."""
    return _HEAD.format(access=access) + (_NOTICES if may_have_notices else "")


_DRESSED = {  # colour of lab.css: Gradio's variables that take it
    "ink": "block_title_text_color block_label_text_color button_secondary_text_color checkbox_label_text_color "
    "checkbox_label_text_color_selected accordion_text_color table_text_color button_secondary_text_color_hover",
    "muted": "body_text_color_subdued block_info_text_color input_placeholder_color",
    "surface": "background_fill_primary block_background_fill block_label_background_fill input_background_fill panel_background_fill "
    "input_background_fill_focus input_background_fill_hover button_secondary_background_fill checkbox_background_color "
    "checkbox_background_color_hover checkbox_background_color_focus checkbox_label_background_fill table_even_background_fill "
    "table_odd_background_fill",
    "raised": "background_fill_secondary button_secondary_background_fill_hover checkbox_label_background_fill_hover code_background_fill "
    "stat_background_fill",
    "line": "border_color_primary block_border_color block_label_border_color panel_border_color table_border_color",
    "edge": "input_border_color button_secondary_border_color checkbox_border_color checkbox_label_border_color",
    "accent": "color_accent border_color_accent input_border_color_focus input_border_color_hover button_primary_background_fill "
    "button_primary_border_color link_text_color link_text_color_visited link_text_color_active slider_color loader_color "
    "checkbox_background_color_selected checkbox_border_color_selected checkbox_border_color_focus checkbox_border_color_hover "
    "checkbox_label_border_color_selected checkbox_label_border_color_hover button_secondary_border_color_hover",
    "accent-strong": "button_primary_background_fill_hover button_primary_border_color_hover link_text_color_hover",
    "accent-soft": "color_accent_soft checkbox_label_background_fill_selected border_color_accent_subdued table_row_focus",
    "on-accent": "button_primary_text_color button_primary_text_color_hover",
    "bad": "error_text_color error_border_color error_icon_color button_cancel_text_color button_cancel_text_color_hover",
    "bad-soft": "error_background_fill button_cancel_background_fill_hover",
}
_MEASURES = {
    "block_border_width": "1px",
    "block_radius": "12px",
    "block_title_text_weight": "600",
    "block_label_text_weight": "600",
    "block_title_text_size": "*text_md",
    "block_info_text_size": "*text_sm",
    "input_border_width": "1px",
    "input_radius": "8px",
    "button_large_radius": "8px",
    "button_medium_radius": "8px",
    "button_small_radius": "8px",
    "button_border_width": "1px",
    "checkbox_border_width": "1px",
    "checkbox_label_border_width": "1px",
    "prose_text_size": "*text_md",
}
_FIRST_PAINT = {  # what is seen before any style sheet is read: --lab-page and --lab-ink
    "body_background_fill": "#f5f8f7",
    "body_background_fill_dark": "#0d1312",
    "body_text_color": "#14201d",
    "body_text_color_dark": "#e7efec",
}


def theme() -> gr.themes.Base:
    """Gradio's parts in the lab's colours (assets/web/lab.css), from system fonts: nothing is fetched from elsewhere.

    A value that names a variable is set for the dark mode too: where it is declared decides which of the two colours it becomes.
    """
    system = ("ui-sans-serif", "system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif")
    mono = ("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "DejaVu Sans Mono", "monospace")
    base = gr.themes.Base(primary_hue="teal", neutral_hue="slate", radius_size="md", font=system, font_mono=mono)
    colours = {name: f"var(--lab-{colour})" for colour, names in _DRESSED.items() for name in names.split()}
    dark = {f"{name}_dark": colour for name, colour in colours.items() if hasattr(base, f"{name}_dark")}
    return base.set(**colours, **dark, **_FIRST_PAINT, **_MEASURES)
