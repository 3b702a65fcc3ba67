// Print the definitions that go/parser sees in files, as one JSON object: {path: [[name, line], …]}.
//
//	go run entities_truth.go -- a.go b.go …
package main

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
)

type visitor struct {
	files  *token.FileSet
	around string
	found  *[][2]any
}

func (v visitor) named(name string, at token.Pos) ast.Visitor {
	*v.found = append(*v.found, [2]any{v.around + name, v.files.Position(at).Line})
	return visitor{v.files, v.around + name + ".", v.found}
}

func (v visitor) Visit(node ast.Node) ast.Visitor {
	switch one := node.(type) {
	case *ast.FuncDecl:
		if one.Body == nil {
			return v
		}
		if one.Recv != nil && len(one.Recv.List) == 1 {
			return v.named(base(one.Recv.List[0].Type)+"."+one.Name.Name, one.Pos())
		}
		return v.named(one.Name.Name, one.Pos())
	case *ast.TypeSpec:
		if !one.Assign.IsValid() {
			return v.named(one.Name.Name, one.Pos())
		}
	case *ast.ValueSpec:
		if len(one.Names) == 1 && len(one.Values) == 1 && isFunction(one.Values[0]) {
			return v.named(one.Names[0].Name, one.Pos())
		}
	case *ast.AssignStmt:
		if one.Tok == token.DEFINE && len(one.Lhs) == 1 && len(one.Rhs) == 1 && isFunction(one.Rhs[0]) {
			return v.named(one.Lhs[0].(*ast.Ident).Name, one.Pos())
		}
	}
	return v
}

// base returns the name of a receiver's type, behind pointers and type parameters.
func base(expression ast.Expr) string {
	switch one := expression.(type) {
	case *ast.StarExpr:
		return base(one.X)
	case *ast.IndexExpr:
		return base(one.X)
	case *ast.IndexListExpr:
		return base(one.X)
	case *ast.Ident:
		return one.Name
	}
	return "?" // no Go: testdata of the compiler
}

func isFunction(expression ast.Expr) bool {
	_, is := expression.(*ast.FuncLit)
	return is
}

func main() {
	out := map[string][][2]any{}
	for _, path := range os.Args[2:] {
		files := token.NewFileSet()
		file, err := parser.ParseFile(files, path, nil, parser.SkipObjectResolution)
		if err != nil {
			println(err.Error())
			continue
		}
		found := [][2]any{}
		ast.Walk(visitor{files, "", &found}, file)
		out[path] = found
	}
	json.NewEncoder(os.Stdout).Encode(out)
}
