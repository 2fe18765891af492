"""The lab's own web app, in which Gradio is mounted: guard, live metrics, downloads, run actions, inspection, health. No Gradio here."""
