import js from "@eslint/js";
import imports from "eslint-plugin-import-x";
import globals from "globals";

// Names of classes come from the data: text may become a text node, and never HTML.
const HTML = ["innerHTML", "outerHTML", "insertAdjacentHTML", "write"].map(property => ({
  property,
  message: "Text from the data would be read as HTML; use h() of dom.js.",
}));

export default [
  js.configs.recommended,
  {
    files: ["src/*.js"],
    plugins: { "import-x": imports },
    languageOptions: { sourceType: "module", globals: globals.browser },
    linterOptions: { reportUnusedDisableDirectives: "error" },
    rules: {
      eqeqeq: "error",
      "no-eval": "error",
      "no-implied-eval": "error",
      "no-restricted-properties": ["error", ...HTML],
      "no-shadow": "error",
      "one-var": ["error", "never"],
      "no-var": "error",
      "prefer-const": "error",
      "max-len": ["error", { code: 100, ignoreUrls: true }],
      "import-x/export": "error",
      "import-x/extensions": ["error", "always"],
      "import-x/first": "error",
      "import-x/named": "error",
      "import-x/no-cycle": "error",
      "import-x/no-duplicates": "error",
      "import-x/no-extraneous-dependencies": "error",
      "import-x/no-self-import": "error",
      "import-x/no-unresolved": "error",
    },
  },
];
