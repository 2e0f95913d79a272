import tseslint from "typescript-eslint";

export default tseslint.config(
  {
    ignores: [
      "dist/**",
      "build/**",
      "node_modules/**",
      "guest-images/**",
      "**/*.generated.ts",
      "scripts/**",
      "*.js",
      "vitest.config.ts",
    ],
  },
  {
    files: ["**/*.ts"],
    ignores: ["emulator/core/**"],
    extends: [...tseslint.configs.strictTypeChecked],
    languageOptions: { parserOptions: { project: "./tsconfig.json", tsconfigRootDir: import.meta.dirname } },
    rules: {
      "@typescript-eslint/restrict-template-expressions": [
        "error",
        { allowNumber: true, allowBoolean: true },
      ],
      "@typescript-eslint/switch-exhaustiveness-check": "error",
      // Indexing typed arrays is everywhere here and in range by construction; the bound is commented where it is not obvious.
      "@typescript-eslint/no-non-null-assertion": "off",
      "@typescript-eslint/no-confusing-void-expression": ["error", { ignoreArrowShorthand: true }],
      "@typescript-eslint/no-meaningless-void-operator": "off",
    },
  },
  // AssemblyScript is TypeScript to the parser, but its numbers, casts and booleans are WebAssembly's: the rules that follow
  // need no types but the syntax's.
  {
    files: ["emulator/core/**/*.ts"],
    extends: [...tseslint.configs.strict, ...tseslint.configs.stylistic],
    rules: {
      // Casts are written <T>x, as AssemblyScript's own library does.
      "@typescript-eslint/consistent-type-assertions": ["error", { assertionStyle: "angle-bracket" }],
      // Rules call every function of an instruction with its record, whether it looks at it or not.
      "@typescript-eslint/no-unused-vars": ["error", { args: "none" }],
      // Classes of static methods, because only methods can be marked @inline in TypeScript's syntax.
      "@typescript-eslint/no-extraneous-class": "off",
    },
  },
);
