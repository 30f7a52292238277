// anywidget's own script is bundled; require.js loads only on pages with widgets
requirejs.config({paths: {anywidget: document.documentElement.dataset.content_root + "_static/anywidget"}})
